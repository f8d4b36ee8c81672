"""Shot metrics against the reference programs' numbers on real labels, read from the shared data."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dir.bins import LabelBins
from dir.metrics import STSB_DIR_SHOTS, ShotMetrics

NAMES = {"l1": "mae", "mse": "mse", "gmean": "gm", "pearsonr": "pearson", "spearmanr": "spearman"}
SHOTS = {"overall": "all", "many": "many", "median": "median", "low": "few", "medium": "median", "few": "few"}


@pytest.fixture(scope="module")
def numbers(shared: Path) -> Any:
    return json.loads((shared / "data" / "golden" / "shot_metrics.json").read_text())


@pytest.fixture(scope="module")
def arrays(shared: Path) -> Any:
    return np.load(shared / "data" / "golden" / "shot_metrics.npz", allow_pickle=False)


@pytest.mark.parametrize("case", ["random", "constant", "with_exact_hits"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_agedb_by_thresholds(case: str, dtype: str, numbers: Any, arrays: Any) -> None:
    compare_agedb(numbers["agedb"][f"{case}/{dtype}"], case, dtype, arrays)


def test_agedb_with_other_thresholds(numbers: Any, arrays: Any) -> None:
    expected = numbers["agedb"]["random/float64/many200_low50"]
    result = compare_agedb(expected, "random", "float64", arrays, many=200, few=50)
    assert sum(int(result[shot]["n"]) for shot in ("many", "median", "few")) == 2140


def compare_agedb(expected: Any, case: str, dtype: str, arrays: Any, **thresholds: int) -> Any:
    bins = LabelBins.integers(0, 120)
    counts = bins.counts(torch.from_numpy(arrays["agedb/train_labels"]))
    # The reference adds no epsilon: one exact hit gives a geometric mean of 0.
    metric = ShotMetrics(bins, counts, zero_shot=False, epsilon=0.0, **thresholds)
    metric.update(torch.from_numpy(arrays[f"agedb/{case}/preds"]), torch.from_numpy(arrays["agedb/labels"]).float())
    result = metric.compute()
    rtol = 1e-9 if dtype == "float64" else 2e-6
    for shot, values in expected.items():
        for name, value in values.items():
            ours = result[SHOTS[shot]][NAMES[name]].item()
            np.testing.assert_allclose(ours, value, rtol=rtol, err_msg=f"{shot} {name}")
    return result


def test_agedb_group_sizes(numbers: Any, arrays: Any) -> None:
    bins = LabelBins.integers(0, 120)
    labels = torch.from_numpy(arrays["agedb/labels"]).float()
    counts = bins.counts(torch.from_numpy(arrays["agedb/train_labels"]))
    folded = ShotMetrics(bins, counts, zero_shot=False, metrics=["mae"])(labels, labels)
    apart = ShotMetrics(bins, counts, metrics=["mae"])(labels, labels)
    sizes = numbers["agedb"]["n_samples"]
    assert {name: int(folded[SHOTS[name]]["n"]) for name in sizes} == sizes
    assert int(folded["zero"]["n"]) == 0
    assert int(apart["few"]["n"] + apart["zero"]["n"]) == sizes["low"]


def test_stsb_list_is_the_published_one_and_equals_its_counts(numbers: Any, golden: Callable[..., Any]) -> None:
    published = numbers["sts"]["shot_idx_hard_coded"]
    ours = {name: list(STSB_DIR_SHOTS[SHOTS[name]]) for name in published}
    assert ours == published
    counts = golden("lds_weights.npz", key="sts/bin_counts")["sts/bin_counts"]
    assert np.flatnonzero(counts > 100).tolist() == published["many"]
    assert np.flatnonzero((counts >= 30) & (counts <= 100)).tolist() == published["medium"]
    assert np.flatnonzero(counts < 30).tolist() == published["few"]


@pytest.mark.parametrize("case", ["random", "with_exact_hits", "no_few"])
def test_stsb_by_published_list(case: str, numbers: Any, arrays: Any) -> None:
    metric = ShotMetrics(LabelBins.uniform(0.0, 5.0, 50), groups=STSB_DIR_SHOTS)
    # The reference scales in float64: in float32 eleven near misses would round to exact hits.
    preds = torch.from_numpy(arrays[f"sts/{case}/preds01"]).double() * 5
    labels = torch.from_numpy(arrays[f"sts/{case}/labels"]).float()
    metric.update(preds, labels)
    result = metric.compute()
    for shot, values in numbers["sts"][case].items():
        ours = result[SHOTS[shot]]
        assert ours["n"] == values["num_samples"]
        for name, value in values.items():
            if name == "num_samples":
                continue
            if ours["n"] == 0:
                assert ours[NAMES[name]].isnan()  # the reference prints 0 for an empty group
            else:
                np.testing.assert_allclose(ours[NAMES[name]].item(), value, rtol=1e-9, err_msg=f"{shot} {name}")
