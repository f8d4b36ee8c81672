"""Bundles of runs with data.log_target: they hold the transform and predict raw labels."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from dir import LabelBins
from dir.bundle import BundleError, Predictor, export, load
from dir.models import HistogramHead, MLPEncoder, Regressor
from dir.models.heads_experts import ExpertsHead

Run = Callable[..., Path]
Files = tuple[Path, Path]


@pytest.mark.parametrize("method", ["vanilla", "isotonic", "vir", "uvote", "histogram_prior", "bagging"])
def test_a_bundle_predicts_what_the_run_predicted(table_run: Run, table_files: Files, method: str) -> None:
    run = table_run(f"method={method}", "data.log_target=true")
    model, test = load(run), pd.read_csv(table_files[1])
    with np.load(run / "predictions.npz", allow_pickle=False) as saved:
        expected = dict(saved)
    np.testing.assert_array_equal(model.predict(test), expected["prediction"])
    if "variance" not in expected:
        return
    np.testing.assert_array_equal(model.predict_variance(test), expected["variance"])
    low, high = model.predict_interval(test)
    assert (low > -1).all()
    assert (low < high).all()


@pytest.mark.parametrize("kind", ["histogram", "normal"])
def test_intervals_are_those_of_the_logarithm_mapped_exactly(kind: str) -> None:
    torch.manual_seed(0)
    bins = LabelBins.uniform(-2, 3, 10)
    head = HistogramHead(4, bins) if kind == "histogram" else ExpertsHead(4, bins)
    regressor = Regressor(MLPEncoder(3, [4]), head).eval()
    inputs = torch.randn(20, 3)
    with torch.no_grad():
        of_logs = Predictor(regressor, 1.5, 0.7).quantiles(inputs, (0.1, 0.9)).double().numpy()
        found = Predictor(regressor, 1.5, 0.7, log1p=True).quantiles(inputs, (0.1, 0.9)).numpy()
    np.testing.assert_allclose(found, np.expm1(of_logs), rtol=1e-5)


def test_the_description_names_the_transform_and_a_missing_key_means_none(table_run: Run) -> None:
    log, plain = (
        json.loads((table_run("method=vanilla", *more) / "model/model.json").read_text())
        for more in (("data.log_target=true",), ())
    )
    assert (log["version"], log["target"]["transform"]) == (2, "log1p")
    assert plain["version"] == 1
    assert set(plain["target"]) == {"name", "unit", "offset", "scale"}


def test_an_unknown_transform_is_refused(table_run: Run, tmp_path: Path) -> None:
    shutil.copytree(table_run("method=vanilla", "data.log_target=true") / "model", tmp_path / "model")
    path = tmp_path / "model/model.json"
    content = json.loads(path.read_text()) | {"sha256": "0" * 64}
    content["target"]["transform"] = "exp"
    text = json.dumps(content, indent=1) + "\n"
    path.write_text(text.replace("0" * 64, hashlib.sha256(text.encode()).hexdigest()))
    with pytest.raises(BundleError, match=r"target\.transform: .*got 'exp'"):
        load(tmp_path / "model")


def test_an_export_predicts_raw_labels(table_run: Run, table_files: Files, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra `export`")
    model, test = load(table_run("method=vanilla", "data.log_target=true")), pd.read_csv(table_files[1])
    export(model, tmp_path / "model.onnx")
    codes = np.array(
        [["abc".index(kind), floor - 1] for kind, floor in zip(test["kind"], test["floor"], strict=True)]
    )
    feeds = {"numbers": test[["u", "v"]].to_numpy(np.float64), "codes": codes.astype(np.int64)}
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, feeds)[0], model.predict(test), rtol=1e-4)


def test_the_saved_distributions_give_the_predictions_of_the_run(table_run: Run) -> None:
    from dir.compare.tradeoff import read_saved

    run = table_run("method=histogram_prior", "data.log_target=true")
    saved = read_saved(run)
    with np.load(run / "predictions.npz", allow_pickle=False) as arrays:
        expected = arrays["prediction"]
    # The log-probabilities are saved in half precision.
    np.testing.assert_allclose(saved.predict("test", saved.power), expected, rtol=0.01)
