"""Shot groups by counts, by shares of the rows and by density: hand-made cases and properties on random counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dir.bins import LabelBins
from dir.metrics import ShotMetrics, shot_of_bins
from dir.metrics.functional import shot_metrics

COUNTS = torch.tensor([500, 101, 100, 60, 20, 19, 5, 1, 0, 0])


def groups_of(counts: list[int], **kwargs: object) -> list[str]:
    rows = shot_of_bins(torch.tensor(counts), len(counts), **kwargs)  # type: ignore[arg-type]
    assert (rows.sum(0) == 1).all()
    return [("many", "median", "few", "zero")[place] for place in rows.int().argmax(0).tolist()]


def test_the_emptiest_bins_hold_a_fifth_of_the_rows_and_the_fullest_half() -> None:
    # Of 806 rows, 1 + 5 + 19 + 20 + 60 = 105 are at most a fifth, 205 would be a quarter, and 500 are over half.
    expected = ["many"] + ["median"] * 2 + ["few"] * 5 + ["zero"] * 2
    assert groups_of(COUNTS.tolist(), by="quantile") == expected
    # 500 + 101 + 100 are 0.87 of the rows, and 1 + 5 + 19 are 0.03.
    expected = ["many"] * 3 + ["median"] * 2 + ["few"] * 3 + ["zero"] * 2
    assert groups_of(COUNTS.tolist(), by="quantile", many=0.8, few=0.04) == expected


def test_bins_of_one_count_are_in_one_group_and_neither_end_is_empty() -> None:
    assert groups_of([1] * 8 + [50], by="quantile") == ["few"] * 8 + ["many"]
    assert groups_of([1] + [50] * 8, by="quantile") == ["few"] + ["many"] * 8
    assert groups_of([1, 2], by="quantile") == ["few", "many"]
    with pytest.raises(ValueError, match=r"by: all 3 bins.*got 'quantile'"):
        groups_of([7, 7, 0, 7], by="quantile")


@given(st.lists(st.integers(0, 60), min_size=2, max_size=40), st.floats(0.01, 0.5), st.floats(0.1, 0.5))
def test_the_groups_by_quantile_follow_the_order_of_the_counts(counts: list[int], many: float, few: float) -> None:
    if len({count for count in counts if count}) < 2:
        return
    names = groups_of(counts, by="quantile", many=many, few=few)
    rank = {"zero": 0, "few": 1, "median": 2, "many": 3}
    ranks = [rank[names[place]] for place in np.argsort(counts, kind="stable")]
    assert ranks == sorted(ranks)
    assert {"many", "few"} <= set(names)


def test_density_counts_samples_per_width_in_units_of_uniform_labels() -> None:
    # 100 samples over a range of 10 units: uniform labels have 10 a unit.
    bins = LabelBins.from_edges([0.0, 1.0, 2.0, 6.0, 10.0, 12.0])
    counts = torch.tensor([30, 8, 60, 2, 0])  # per unit 30, 8, 15, 0.5 and none beyond the training labels
    rows = shot_of_bins(counts, 5, by="density", edges=bins.edges)
    assert rows.int().argmax(0).tolist() == [0, 1, 0, 2, 3]
    assert shot_of_bins(counts, 5, by="density", edges=bins.edges, many=2.0, few=0.9).int().argmax(0).tolist() == [
        *(0, 2, 1, 2, 3)
    ]
    # Per bin of mean width 2.5: 25 samples are uniform.
    assert ShotMetrics(bins, counts, by="density").thresholds == (25.0, 5.0)


def test_the_default_densities_are_about_the_published_counts_on_agedb() -> None:
    # AgeDB-DIR: 12208 training faces, ages 0 to 101.
    counts = torch.zeros(102, dtype=torch.int64)
    counts[:] = 12208 // 102
    thresholds = ShotMetrics(LabelBins.integers(0, 101), counts, by="density").thresholds
    assert thresholds is not None
    assert thresholds.many == pytest.approx(119)
    assert thresholds.few == pytest.approx(23.8)


def test_class_and_function_agree_and_keep_the_thresholds() -> None:
    bins = LabelBins.integers(0, 9)
    target = torch.arange(10.0).repeat(3)
    preds = target + torch.linspace(0, 1, 30)
    metric = ShotMetrics(bins, COUNTS, ["mae"], by="quantile")
    found = metric(preds, target)
    again = shot_metrics(preds, target, bins, COUNTS, ["mae"], by="quantile")
    assert {name: values["n"].item() for name, values in found.items()} == {
        "all": 30,
        "many": 3,
        "median": 6,
        "few": 15,
        "zero": 6,
    }
    for name, values in found.items():
        assert values["mae"].item() == again[name]["mae"].item()
    assert metric.thresholds == (499.0, 61.0)
    assert ShotMetrics(bins, COUNTS).thresholds == (100, 20)
    assert ShotMetrics(bins, groups={"many": [0]}).thresholds is None


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"by": "quantil"}, r"by.*got 'quantil'"),
        ({"by": "quantile", "few": 20}, r"few: .*\(0, 1\), got 20"),
        ({"by": "quantile", "few": 0.6, "many": 0.5}, r"many: .*got 0\.5"),
        ({"by": "density", "few": 2.0}, r"many: .*few=2\.0, got 1\.0"),
        ({"by": "density", "few": 0.0}, r"few: .*got 0\.0"),
        ({"few": 0.5}, r"few: .*got 0\.5"),
    ],
)
def test_thresholds_out_of_range_are_refused(kwargs: dict[str, object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        groups_of(COUNTS.tolist(), **kwargs)
