"""Tables with data.categories=embed: the codes of the data, runs of networks and trees, bundles and exports."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hydra import compose, initialize_config_dir

import dir.bundle
from dir.bundle.fields import BundleError, Fields
from dir.bundle.inputs.rows import RowsError
from dir.bundle.inputs.tables import TableInputs
from dir.bundle.inputs.windows import WindowInputs
from dir.data.tabular import TabularData
from dir.recipe.build import build
from dir.recipe.cli import config_dir, register_configs
from dir.recipe.evaluate import evaluate_checkpoint

Run = Callable[..., Path]
MANY = 1200
TABM = ("model=tabm", "model.encoder.members=3", "model.encoder.hidden=8", "model.encoder.embedding=4")


def shops(seed: int = 0) -> pd.DataFrame:
    """A table with a category of 1,200 values, one of three, and a number; test rows have an unknown category."""
    random = np.random.default_rng(seed)
    effect = random.normal(size=MANY)
    shop = np.concatenate([np.arange(MANY), random.integers(0, MANY, 600)])
    kind = random.integers(0, 3, len(shop))
    split = np.concatenate([np.full(MANY, "train"), np.resize(["train", "val", "test"], 600)])
    price = np.exp(effect[shop]) + kind + 0.1 * random.normal(size=len(shop))
    frame = pd.DataFrame({"shop": [f"s{number}" for number in shop], "kind": np.array(list("abc"))[kind]})
    frame = frame.assign(x=random.normal(size=len(shop)), fold=split, price=price)
    frame.loc[len(frame) - 1, ["shop", "fold"]] = ["unseen", "test"]
    return frame


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shops") / "shops.csv"
    shops().to_csv(path, index=False)
    return path


def settings(path: Path) -> list[str]:
    fixed = [f"data.path={path}", "data.target=price", "data.split_column=fold", "data.categories=embed"]
    return ["+experiment=tabular", *fixed, "data.categorical=[shop,kind]"]


def ready(path: Path, **options: Any) -> TabularData:
    fixed = {"categorical": ["shop", "kind"], "split_column": "fold", "categories": "embed"}
    data = TabularData(str(path), "price", **fixed | options)
    data.setup()
    return data


def test_codes_count_the_training_categories_from_1(file: Path) -> None:
    data, table = ready(file), shops()
    assert data.encoder_args() == {"in_features": 1, "category_sizes": [MANY + 1, 4]}
    assert data.settings() == ready(file, categorical=["kind"], drop=["shop"], categories="onehot").settings() | {
        "categorical": ["shop", "kind"],
        "drop": [],
    }, "runs with and without embeddings have the same data"
    train = table[table["fold"] == "train"]
    places = {name: sorted(set(train[name])) for name in ("shop", "kind")}
    for split in ("val", "test"):
        own = table[table["fold"] == split].reset_index(drop=True)
        (numbers, codes), labels = data.dataset(split).__getitems__(list(range(len(own))))
        assert numbers.dtype == torch.float32
        assert codes.dtype == torch.int64
        for number, code, label in zip(numbers, codes.tolist(), labels.tolist(), strict=True):
            row = own.iloc[int(np.abs(own["price"] - label).argmin())]
            expected = [places[n].index(row[n]) + 1 if row[n] in places[n] else 0 for n in ("shop", "kind")]
            assert code == expected
            assert float(number) == pytest.approx((row["x"] - train["x"].mean()) / train["x"].std(ddof=0), abs=1e-5)


def test_a_missing_category_has_code_0(tmp_path: Path) -> None:
    table = shops()
    table.loc[5, "kind"] = None
    table.to_csv(tmp_path / "t.csv", index=False)
    data = ready(tmp_path / "t.csv", missing="median")
    codes = data.dataset("train").__getitems__(list(range(len(data.labels("train")))))[0][1]
    assert (codes == 0).sum(dim=0).tolist() == [0, 1]


def test_one_hot_columns_refuse_many_categories_and_name_the_setting(file: Path) -> None:
    with pytest.raises(ValueError, match=rf"column 'shop' has {MANY} categories.* Set data\.categories=embed"):
        ready(file, categories="onehot")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"categories": "vector"}, r"^data\.categories: expected "),
        ({"categorical": [], "drop": ["shop", "kind"]}, r"^data\.categories: the table has no column of categories"),
        ({"time": "x", "window": 2, "split": "time", "split_column": None}, r"^data\.categories: categories in win"),
    ],
)
def test_other_settings_are_refused(file: Path, options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        ready(file, **options)


def predict(path: Path, feeds: dict[str, np.ndarray]) -> np.ndarray:
    """Return the predictions of an exported model."""
    if path.suffix == ".onnx":
        onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra `export`")
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return session.run(None, feeds)[0]
    with torch.no_grad():
        return torch.export.load(path).module()(*(torch.from_numpy(feeds[name].copy()) for name in feeds)).numpy()


@pytest.mark.parametrize(
    ("model", "format"),
    [
        # Categories alone, and categories beside a number.
        (("model=mlp", "method=lds_fds", "data.drop=[x]"), "onnx"),
        ((*TABM, "method=histogram_prior"), "torch_export"),
    ],
)
def test_a_run_evaluates_predicts_and_exports(
    file: Path, run_once: Run, tmp_path: Path, model: tuple[str, ...], format: Any
) -> None:
    needed = "tabm" if model[0] == "model=tabm" else "onnxscript"
    pytest.importorskip(needed, reason="needs the extras `tabm` and `export`")
    path = run_once(*settings(file), *model)
    loaded, test = dir.bundle.load(path), shops().query("fold == 'test'")
    with np.load(path / "predictions.npz", allow_pickle=False) as saved:
        np.testing.assert_array_equal(loaded.predict(test, unknown="zeros"), saved["prediction"])
    with pytest.raises(RowsError, match="row 200: column 'shop': category that the training rows do not have"):
        loaded.predict(test)
    metrics = json.loads((path / "metrics.json").read_text())
    assert evaluate_checkpoint(path / "checkpoints" / "best.ckpt", [])["test"] == metrics["test"]
    names = {column["name"]: column["values"] for column in loaded.description.input["encoder"]["categories"]}
    codes = [[names[n].index(row[n]) if row[n] in names[n] else -1 for n in names] for _, row in test.iterrows()]
    feeds = {"numbers": test[["x"]].to_numpy(np.float64), "codes": np.array(codes, dtype=np.int64)}
    target = tmp_path / ("model.onnx" if format == "onnx" else "model.pt2")
    found = predict(target, {name: feeds[name] for name in dir.bundle.export(loaded, target, format)})
    np.testing.assert_allclose(found, loaded.predict(test, unknown="zeros"), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("method", "coded"),
    [
        (("method=hist_gbdt", "method.weights=sqinv"), True),
        (("method=lightgbm",), True),
        (("method=catboost",), False),
        (("method=rebagg",), False),
    ],
)
def test_trees_split_categories_or_take_one_hot_columns_and_say_so(
    run_once: Run, tmp_path: Path, capsys: Any, method: tuple[str, ...], coded: bool
) -> None:
    package = method[0].removeprefix("method=")
    if package in ("lightgbm", "catboost"):
        pytest.importorskip(package, reason="needs the extra `trees`")
    size = ["method.ensemble.n_estimators=2"] if package == "rebagg" else ["method.estimator.max_iter=5"]
    table = shops().tail(600)
    table.assign(shop="s" + table["shop"].str[-1]).to_csv(tmp_path / "few.csv", index=False)
    path = run_once(*settings(tmp_path / "few.csv"), *method, *size)
    meaning = "trees split the categories into two sets" if coded else "categories are one-hot columns"
    assert f"data.categories=embed: the method trains no network, {meaning}" in capsys.readouterr().out
    loaded = dir.bundle.load(path)
    assert loaded.description.input["encoder"].get("codes", False) == coded
    test = pd.read_csv(tmp_path / "few.csv").query("fold == 'test'")
    with np.load(path / "predictions.npz", allow_pickle=False) as saved:
        np.testing.assert_array_equal(loaded.predict(test, unknown="zeros"), saved["prediction"])
    if package == "hist_gbdt":
        # The trees of the run are those of scikit-learn on codes: the split by sets is used.
        assert (loaded.estimator.regressor_.trees_.set_of >= 0).any()


def test_trees_refuse_more_categories_than_their_library_takes(file: Path, run_once: Run) -> None:
    with pytest.raises(
        ValueError, match=rf"^data\.categories: HistGBDT takes at most 255 .*'shop' has, got {MANY}\."
    ):
        run_once(*settings(file), "method=hist_gbdt")


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["method=c_mixup"], r"^method\.mixup: inputs of this type .*codes of categories"),
        (["model=gru", "model.encoder.window=2"], r"^model: .* does not take category_sizes"),
    ],
)
def test_parts_that_cannot_use_codes_are_refused(file: Path, overrides: list[str], problem: str) -> None:
    register_configs()
    with initialize_config_dir(config_dir(), version_base="1.3"):
        cfg = compose("train", [*settings(file), "logger=none", "trainer.accelerator=cpu", *overrides])
    with pytest.raises(ValueError, match=problem):
        build(cfg)


def test_a_file_that_contradicts_itself_is_refused(file: Path) -> None:
    encoding = json.loads(json.dumps(ready(file).encoding()))
    encoding["encoder"]["codes"] = "yes"
    with pytest.raises(BundleError, match=r"encoder\.codes: expected true or false"):
        TableInputs(Fields(encoding, "model.json", "input"))
    encoding["encoder"]["codes"] = True
    with pytest.raises(BundleError, match=r"codes: categories in windows are one-hot"):
        WindowInputs(Fields(encoding, "model.json", "input"))
