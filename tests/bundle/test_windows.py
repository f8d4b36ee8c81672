"""Windows of a time series in a finished run: the bundle predicts rows of a file, evaluates and exports."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dir.bundle import export, load
from dir.bundle.cli import predict_main
from dir.recipe.evaluate import evaluate_checkpoint

LENGTH = 4


def series(count: int = 240) -> pd.DataFrame:
    random = np.random.default_rng(0)
    level = np.round(10 * np.sin(np.arange(count) / 9) + random.normal(size=count), 6)
    return pd.DataFrame(
        {
            "hour": np.arange(count),
            "wind": random.choice(["N", "S"], count),
            "u": random.normal(size=count),
            "level": level,
        }
    )


@pytest.fixture(scope="module", params=["gru", "tcn"])
def run(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, run_once: Callable[..., Path]
) -> Path:
    path = tmp_path_factory.mktemp("series") / "level.csv"
    series().to_csv(path, index=False)
    settings = [f"data.path={path}", "data.target=level", "data.time=hour", "data.split=time", "data.share=0.25"]
    return run_once("+experiment=tabular", *settings, f"data.window={LENGTH}", f"model={request.param}", "method=lds")


def saved(run: Path) -> np.ndarray:
    with np.load(run / "predictions.npz", allow_pickle=False) as arrays:
        return arrays["prediction"]


def test_the_bundle_predicts_as_the_run(run: Path) -> None:
    model, test = load(run), series()[180:]
    # One window for each row but the first three, in any order of the rows. The last label lies beyond the file.
    assert len(model.predict(test.sample(frac=1, random_state=0))) == 60 - LENGTH + 1
    np.testing.assert_allclose(model.predict(test)[:-1], saved(run), rtol=1e-5, atol=1e-5)


def test_a_file_of_rows_is_predicted_with_the_number_of_the_last_row(run: Path, tmp_path: Path) -> None:
    # Row 31 is missing: no window spans the gap.
    series()[180:].drop(index=210).to_csv(tmp_path / "new.csv", index=False)
    predict_main([f"model={run}", f"input={tmp_path / 'new.csv'}", f"output={tmp_path / 'out.csv'}"])
    out = pd.read_csv(tmp_path / "out.csv")
    assert out["input_row"].tolist() == [*range(4, 31), *range(34, 60)]
    whole = load(run).predict(series()[180:])
    np.testing.assert_allclose(out["prediction"][:27], whole[:27], rtol=1e-4, atol=1e-4)


def test_the_windows_of_another_file_are_evaluated(run: Path, tmp_path: Path) -> None:
    series()[180:].to_csv(tmp_path / "test.csv", index=False)
    found = evaluate_checkpoint(run, [f"data.test_path={tmp_path / 'test.csv'}"])
    expected = json.loads((run / "metrics.json").read_text())["test"]
    assert found["test"]["all"]["n"] == 60 - LENGTH
    assert found["test"]["all"]["mae"] == pytest.approx(expected["all"]["mae"], rel=1e-5)


def test_rows_that_form_no_window_are_refused(run: Path) -> None:
    with pytest.raises(ValueError, match=r"^inputs: 3 rows form no window of 4 rows at equal steps"):
        load(run).predict(series()[:3])
    with pytest.raises(ValueError, match=r"^inputs: no column \['hour'\]"):
        load(run).predict(series().drop(columns="hour"))


def test_the_network_is_exported(run: Path, tmp_path: Path) -> None:
    for name, form in (("m.pt2", "torch_export"), ("m.onnx", "onnx")):
        assert export(load(run), tmp_path / name, form)
        assert (tmp_path / name).is_file()
