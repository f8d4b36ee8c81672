"""Bundles of table runs: the predictions of the run, and rows that cannot be predicted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from dir.bundle import RowsError, load
from dir.bundle.cli import predict_main

Run = Callable[..., Path]
Files = tuple[Path, Path]


def predictions_of(run: Path) -> dict[str, np.ndarray]:
    with np.load(run / "predictions.npz", allow_pickle=False) as arrays:
        return dict(arrays)


@pytest.mark.parametrize(
    "method", ["vanilla", "lds_fds", "affine", "isotonic", "rbc", "uvote", "vir", "rrt", "histogram_prior"]
)
def test_a_bundle_predicts_what_the_run_predicted(table_run: Run, table_files: Files, method: str) -> None:
    run = table_run(f"method={method}")
    model = load(run)
    expected = predictions_of(run)
    test = pd.read_csv(table_files[1])
    np.testing.assert_array_equal(model.predict(test), expected["prediction"])
    if "variance" in expected:
        np.testing.assert_array_equal(model.predict_variance(test), expected["variance"])
        low, high = model.predict_interval(test, level=0.9)
        if method.startswith("histogram"):
            # The interval holds quantiles of the head's own distribution: a lower level lies inside.
            assert (low < high).all()
            assert (model.predict_interval(test, level=0.5)[0] > low).all()
        else:
            # 1.6449: the 95 % quantile of the normal distribution.
            deviation = np.sqrt(expected["variance"].astype(np.float64))
            np.testing.assert_allclose((high - low) / 2, 1.6448536 * deviation, rtol=1e-4)
    else:
        with pytest.raises(TypeError, match="variance"):
            model.predict_variance(test)


@pytest.mark.parametrize("method", ["bagging", "rebagg", "hist_gbdt", "lightgbm", "catboost"])
def test_an_ensemble_of_scikit_learn_predicts_what_the_run_predicted(
    table_run: Run, table_files: Files, method: str
) -> None:
    if method in ("lightgbm", "catboost"):
        pytest.importorskip(method, reason="needs the extra `trees`")
    run = table_run(f"method={method}")
    assert {path.name for path in (run / "model").iterdir()} == {"model.json", "estimator.skops"}
    test = pd.read_csv(table_files[1])
    np.testing.assert_array_equal(load(run).predict(test, batch_size=7), predictions_of(run)["prediction"])


def test_the_module_takes_encoded_tensors(table_run: Run, table_files: Files) -> None:
    run = table_run("method=vanilla")
    model = load(run)
    assert model.module is not None
    with torch.no_grad():
        raw = model.module(model.encoder.open(pd.read_csv(table_files[1])).batch(list(range(40)))[1])
    np.testing.assert_array_equal(raw.numpy(), predictions_of(run)["prediction"])
    assert not model.module.training


def test_columns_may_come_in_another_order_and_extra_columns_are_ignored(table_run: Run, table_files: Files) -> None:
    run = table_run("method=vanilla")
    test = pd.read_csv(table_files[1])
    shuffled = test[["v", "price", "u", "floor", "kind"]].assign(extra="x")
    np.testing.assert_array_equal(load(run).predict(shuffled), load(run).predict(test))
    as_dict = load(run).predict({name: test[name].tolist() for name in ("kind", "floor", "u", "v")})
    np.testing.assert_array_equal(as_dict, load(run).predict(test))


def test_a_category_of_numbers_has_one_name_however_the_file_writes_it(table_run: Run, table_files: Files) -> None:
    model = load(table_run("method=vanilla"))
    test = pd.read_csv(table_files[1])
    expected = model.predict(test)
    for floor in (test["floor"].astype(float), test["floor"].astype(str), test["floor"].astype(float).astype(str)):
        np.testing.assert_array_equal(model.predict(test.assign(floor=floor)), expected)


def test_every_row_that_cannot_be_predicted_is_named(table_run: Run, table_files: Files) -> None:
    model = load(table_run("method=vanilla"))
    test = pd.read_csv(table_files[1]).astype({"u": object, "kind": object})
    test.loc[2, "kind"] = "castle"
    test.loc[5, "u"] = np.nan
    test.loc[7, "u"] = "wide"
    test.loc[9, "u"] = np.inf
    test.loc[9, "kind"] = None
    with pytest.raises(RowsError, match=r"4 of 40 rows") as caught:
        model.predict(test)
    assert sorted(caught.value.problems) == [2, 5, 7, 9]
    text = str(caught.value)
    assert "row 3: column 'kind'" in text
    assert "castle" in text
    assert "row 6: column 'u': missing" in text
    assert "'wide'" in text
    assert caught.value.problems[9].count("column") == 2
    found = model.predict(test, on_error="nan")
    assert np.flatnonzero(np.isnan(found)).tolist() == [2, 5, 7, 9]
    rest = np.setdiff1d(np.arange(40), [2, 5, 7, 9])
    np.testing.assert_allclose(found[rest], model.predict(pd.read_csv(table_files[1]))[rest], rtol=1e-5)


def test_an_unknown_category_becomes_zeros_on_request(table_run: Run, table_files: Files) -> None:
    model = load(table_run("method=vanilla"))
    test = pd.read_csv(table_files[1]).assign(kind="castle")
    assert np.isfinite(model.predict(test, unknown="zeros")).all()
    encoded = model.encoder.open(test, unknown="zeros").batch([0])[1]
    assert isinstance(encoded, torch.Tensor)
    assert encoded[0, :3].tolist() == [0.0, 0.0, 0.0]


def test_missing_values_are_filled_where_the_run_filled_them(table_run: Run, table_files: Files) -> None:
    model = load(table_run("method=vanilla", "data.missing=median"))
    test = pd.read_csv(table_files[1])
    filled = test.assign(u=pd.read_csv(table_files[0])["u"].median())
    # The median of the training rows is that of train.csv less its validation rows.
    content = json.loads((table_run("method=vanilla", "data.missing=median") / "model/model.json").read_text())
    (fill,) = [column["fill"] for column in content["input"]["encoder"]["numbers"] if column["name"] == "u"]
    np.testing.assert_array_equal(model.predict(test.assign(u=np.nan)), model.predict(filled.assign(u=fill)))


def test_a_frame_without_a_needed_column_is_refused(table_run: Run, table_files: Files) -> None:
    test = pd.read_csv(table_files[1])
    with pytest.raises(ValueError, match=r"\['u'\]"):
        load(table_run("method=vanilla")).predict(test.drop(columns="u"))
    with pytest.raises(ValueError, match=r"\[2, 3\]"):
        load(table_run("method=vanilla")).predict(np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"column 'u'"):
        load(table_run("method=vanilla")).predict(pd.concat([test, test[["u"]]], axis=1))


def test_model_json_tells_what_was_trained(table_run: Run, table_files: Files) -> None:
    run = table_run("method=lds_fds")
    content = json.loads((run / "model/model.json").read_text())
    metrics = json.loads((run / "metrics.json").read_text())
    assert content["version"] == 1
    assert content["target"]["name"] == "price"
    assert content["run"]["metrics"] == {split: metrics[split] for split in ("val", "test")}
    assert content["run"]["versions"]["torch"] == torch.__version__
    train = pd.read_csv(table_files[0])
    kept = sum(content["counts"])
    assert 0 < kept < len(train)
    assert content["input"]["columns"] == ["kind", "floor", "u", "v"]
    assert content["shots"] == {"by": "count", "many": 100, "few": 20}


def test_dates_and_another_way_of_writing_numbers(run_once: Run, table_files: Files, tmp_path: Path) -> None:
    train, test = (pd.read_csv(path) for path in table_files)
    for frame, name in ((train, "train"), (test, "test")):
        frame["day"] = pd.to_datetime("2020-01-01") + pd.to_timedelta(frame["id"] * 1.5, unit="D")
        frame.drop(columns="id").to_csv(tmp_path / f"{name}.csv", index=False, sep=";", decimal=",")
    run = run_once(
        "+experiment=tabular",
        f"data.path={tmp_path / 'train.csv'}",
        f"data.test_path={tmp_path / 'test.csv'}",
        "data.target=price",
        "data.dates=[day]",
        "data.sep=';'",
        "data.decimal=','",
    )
    expected = predictions_of(run)["prediction"]
    np.testing.assert_array_equal(load(run).predict(test), expected)
    predict_main([f"model={run}", f"input={tmp_path / 'test.csv'}", f"output={tmp_path / 'out.csv'}", "device=cpu"])
    np.testing.assert_allclose(pd.read_csv(tmp_path / "out.csv")["prediction"], expected, rtol=1e-6)
    test.to_csv(tmp_path / "comma.csv", index=False)
    call = [f"model={run}", f"input={tmp_path / 'comma.csv'}", f"output={tmp_path / 'comma_out.csv'}", "device=cpu"]
    with pytest.raises(SystemExit, match=r"comma\.csv: .*uses ',' as separator: set data\.sep=','"):
        predict_main(call)
    predict_main([*call, "data.sep=,", "data.decimal=."])
    np.testing.assert_allclose(pd.read_csv(tmp_path / "comma_out.csv")["prediction"], expected, rtol=1e-6)
    with pytest.raises(RowsError, match=r"row 1: column 'day': not a date, got 'someday'"):
        load(run).predict(test.assign(day="someday"))


def test_shots_by_quantile_fill_the_groups_of_a_small_table(table_run: Run) -> None:
    by_count, by_quantile = (
        json.loads((table_run("method=vanilla", *more) / "metrics.json").read_text())
        for more in ((), ("task.shots.by=quantile",))
    )
    assert by_count["run"]["shots"]["thresholds"] == {"many": 100, "few": 20}
    assert by_count["test"]["many"]["n"] == 0
    kept = by_quantile["run"]["shots"]
    assert (kept["by"], kept["many"], kept["few"]) == ("quantile", 0.5, 0.2)
    assert 1 < kept["thresholds"]["few"] <= kept["thresholds"]["many"] < 100
    assert min(by_quantile["test"][group]["n"] for group in ("many", "few")) > 0
    assert by_quantile["test"]["all"] == by_count["test"]["all"]
