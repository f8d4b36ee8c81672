"""The power of the label prior in a bundle: kept, told in model.json, and replaced in a call."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dir.bundle import load
from dir.bundle.cli import predict_main

Run = Callable[..., Path]
Files = tuple[Path, Path]


def cells_at(run: Path, power: float) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of the test rows by NumPy from predictions.npz, and the edges of the cells."""
    with np.load(run / "predictions.npz", allow_pickle=False) as arrays:
        mass = arrays["log_mass"].astype(np.float64) / arrays["temperature"]
        logits = mass - power * arrays["cell_log_density"]
        edges = arrays["cell_edges"]
    probability = np.exp(logits - logits.max(axis=1, keepdims=True))
    return probability / probability.sum(axis=1, keepdims=True), edges


METHODS = [
    ("method=histogram_prior",),
    ("method=histogram_prior", "method.temperature=true"),
    ("method=rbc_prior",),
    ("method=vir_prior", "method.temperature=true"),
    ("method=uvote_prior",),
]


@pytest.mark.parametrize("overrides", METHODS, ids=lambda lines: ",".join(lines).replace("method", ""))
@pytest.mark.parametrize("power", [0.0, 0.7])
def test_a_power_in_the_call_replaces_the_kept_power(
    table_run: Run, table_files: Files, overrides: tuple[str, ...], power: float
) -> None:
    """Oracle: Bayes' rule by NumPy on the saved log-probabilities; float16 leaves an error below 0.2 %."""
    run, test = table_run(*overrides), pd.read_csv(table_files[1])
    model = load(run)
    probability, edges = cells_at(run, power)
    centers, widths = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    mean = probability @ centers
    variance = (probability * ((centers - mean[:, None]) ** 2 + widths**2 / 12)).sum(axis=1)
    cdf = np.concatenate([np.zeros((len(mean), 1)), probability.cumsum(axis=1)], axis=1)
    np.testing.assert_allclose(model.predict(test, power=power), mean, rtol=2e-3)
    np.testing.assert_allclose(model.predict_variance(test, power=power), variance, rtol=5e-3)
    low, high = model.predict_interval(test, level=0.8, power=power)
    for q, found in ((0.1, low), (0.9, high), (0.75, model.predict_quantile(test, 0.75, power=power))):
        expected = [np.interp(q, row, edges) for row in cdf]
        np.testing.assert_allclose(found, expected, rtol=5e-3, atol=1.0)
    kept = model.predict(test)
    assert not np.allclose(kept, model.predict(test, power=1.2))
    np.testing.assert_array_equal(kept, model.predict(test, power=model.power))


def test_the_description_tells_the_kept_power(table_run: Run) -> None:
    run = table_run("method=histogram_prior", "method.power_objective=mae")
    chosen = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["run"]["power"]["value"]
    prior = load(run).description.prior
    assert prior == {"power": chosen, "temperature": 1.0, "point": prior["point"], "objective": "mae"}
    assert load(run).power == chosen


@pytest.mark.parametrize("method", ["vanilla", "vir", "bagging"])
def test_a_model_without_a_label_prior_refuses_a_power(table_run: Run, table_files: Files, method: str) -> None:
    model = load(table_run(f"method={method}"))
    assert model.power is None
    with pytest.raises(TypeError, match=r"power.*no label prior"):
        model.predict(pd.read_csv(table_files[1]), power=0.5)
    if method == "vir":
        with pytest.raises(TypeError, match=r"power.*no label prior"):
            model.predict_interval(pd.read_csv(table_files[1]), power=0.5)


def test_quantiles_of_a_normal_distribution(table_run: Run, table_files: Files) -> None:
    model, test = load(table_run("method=vir")), pd.read_csv(table_files[1])
    deviation = np.sqrt(model.predict_variance(test).astype(np.float64))
    expected = model.predict(test) + 1.2815516 * deviation
    np.testing.assert_allclose(model.predict_quantile(test, 0.9), expected, rtol=1e-4)
    with pytest.raises(ValueError, match=r"q.*got 1\.5"):
        model.predict_quantile(test, 1.5)


def test_predict_py_takes_a_power(
    table_run: Run, table_files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = table_run("method=histogram_prior"), tmp_path / "out.csv"
    common = [f"model={run}", f"input={table_files[1]}", f"output={out}", "device=cpu"]
    predict_main([*common, "power=0.7"])
    expected = load(run).predict(pd.read_csv(table_files[1]), power=0.7)
    np.testing.assert_allclose(pd.read_csv(out)["prediction"], expected, rtol=1e-6)
    assert "power 0.7" in capsys.readouterr().out
    for wrong, path in (("power=half", "power.*'half'"), ("power=-1", r"power.*got -1")):
        with pytest.raises(SystemExit, match=path):
            predict_main([*common, wrong])
