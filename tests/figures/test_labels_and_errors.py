"""Figures of labels, weights and errors: what they draw, against NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from dir import LDS, LabelBins
from dir.figures import (
    bin_errors,
    coverage,
    density_correlation,
    density_figure,
    error_density_figure,
    reliability_figure,
    residual_figure,
    weights_figure,
)
from dir.figures.style import INK

BINS = LabelBins.integers(0, 9)
LABELS = torch.cat([torch.arange(10).repeat_interleave(torch.tensor([50, 40, 30, 20, 10, 5, 4, 3, 2, 0]))])


def test_density_bars_have_the_colour_of_their_shot_group() -> None:
    lds = LDS(BINS, reweight="inverse").fit(LABELS)
    shots = ["many"] * 3 + ["median"] * 3 + ["few"] * 3 + ["zero"]
    axes, other = density_figure(BINS, lds, "years", shots).axes
    heights = {bars.get_label(): [bar.get_height() for bar in bars] for bars in axes.containers}
    assert heights == {"many-shot": [50, 40, 30], "median-shot": [20, 10, 5], "few-shot": [4, 3, 2], "zero-shot": [0]}
    np.testing.assert_allclose(other.lines[0].get_ydata(), lds.density)
    assert other.get_ylabel() == "effective density"
    assert density_figure(BINS, LDS(BINS, kernel=None, reweight="sqrt_inverse").fit(LABELS)).axes[1].get_ylabel() == (
        "density of root counts, not smoothed"
    )
    with pytest.raises(ValueError, match="shots: expected one name per bin, 10, got 2"):
        density_figure(BINS, lds, shots=["many", "few"])


def test_weights_and_their_effective_sample_size() -> None:
    lds = LDS(BINS).fit(LABELS)
    axes = weights_figure(lds, BINS, BINS.counts(LABELS)).axes[0]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), lds.weights, rtol=1e-6)
    weights = lds(LABELS.double()).numpy()
    size = weights.sum() ** 2 / (weights**2).sum()
    assert axes.get_title() == f"effective sample size {size:.0f} of {len(LABELS)}"


def test_errors_by_bin_equal_a_loop() -> None:
    rng = np.random.default_rng(0)
    labels, predictions = rng.uniform(-1, 11, 300), rng.uniform(0, 10, 300)
    edges = np.linspace(0, 10, 6)
    found = bin_errors(labels, predictions, edges)
    inside = np.clip(labels, 0, 9.999)
    for b in range(5):
        rows = (inside >= edges[b]) & (inside < edges[b + 1])
        assert found.rows[b] == rows.sum()
        assert found.mae[b] == pytest.approx(np.abs(predictions - labels)[rows].mean())
        assert found.bias[b] == pytest.approx((predictions - labels)[rows].mean())


def test_the_correlation_is_pearsons_over_the_bins_with_rows() -> None:
    errors, density = np.array([1.0, 3.0, np.nan, 2.0, 5.0]), np.array([9.0, 4.0, 8.0, 6.0, 1.0])
    seen = np.isfinite(errors)
    assert density_correlation(errors, density) == (pytest.approx(stats.pearsonr(errors[seen], density[seen])[0]), 4)
    assert math.isnan(density_correlation([1.0, 2.0], [1.0, 2.0])[0])
    assert math.isnan(density_correlation([1.0, 2.0, 3.0], [4.0, 4.0, 4.0])[0])


def test_both_densities_get_a_panel_with_the_correlation_of_each_method() -> None:
    errors = {"lds": [1.0, 2.0, 4.0], "vanilla": [1.0, 2.0, float("nan")]}
    figure = error_density_figure(errors, [0, 1, 2, 3], [9, 5, 1], [8, 6, 2], "years")
    left, right = figure.axes[:2]
    labels = [text.get_text() for text in right.get_legend().get_texts()]
    value = np.corrcoef([1.0, 2.0, 4.0], [8, 6, 2])[0, 1]
    assert labels == [f"lds: correlation {value:.2f} over 3 bins", "vanilla: correlation not defined over 2 bins"]
    assert left.get_xlabel() == "label (years)"
    with pytest.raises(ValueError, match=r"lds: expected one value per bin, \[2\], got \[3\]"):
        error_density_figure({"lds": [1.0, 2.0, 3.0]}, [0, 1, 2], [1, 1], [1, 1])
    with pytest.raises(ValueError, match="errors: expected at least one method"):
        error_density_figure({}, [0, 1, 2], [1, 1], [1, 1])


def test_residual_bands_are_quantiles_and_need_rows() -> None:
    rng = np.random.default_rng(0)
    labels = np.r_[np.full(100, 0.5), np.full(6, 1.5), [2.5]]
    residuals = rng.normal(size=107)
    _, axes = residual_figure(labels, labels + residuals, [0, 1, 2, 3], "years").axes
    wide, narrow = axes.containers[:2]
    low, high = np.quantile(residuals[:100], [0.05, 0.95])
    assert wide[0].get_y() == pytest.approx(low)
    assert wide[0].get_height() == pytest.approx(high - low)
    assert np.isnan(wide[1].get_height())
    assert np.isfinite(narrow[1].get_height())
    np.testing.assert_allclose(axes.lines[0].get_ydata()[2], residuals[106])


def test_coverage_counts_the_labels_in_normal_intervals() -> None:
    rng = np.random.default_rng(0)
    labels, predictions, variances = rng.normal(size=400), rng.normal(size=400) / 3, rng.uniform(0.2, 2, 400)
    levels = [0.3, 0.9]
    expected = [
        np.mean(np.abs(labels - predictions) <= stats.norm.ppf((1 + level) / 2) * np.sqrt(variances))
        for level in levels
    ]
    np.testing.assert_allclose(coverage(labels, predictions, variances, levels), expected)
    assert np.isnan(coverage([], [], [], levels)).all()


def test_reliability_leaves_empty_groups_out() -> None:
    figure = reliability_figure({"all": [0.4, 0.8], "few": [np.nan, np.nan]}, [0.5, 0.9], {"all": 7, "few": 0})
    assert [line.get_label() for line in figure.axes[0].lines] == ["calibrated", "all, 7 rows"]
    with pytest.raises(ValueError, match="coverages: expected a group with values"):
        reliability_figure({"few": [np.nan]}, [0.5])


def test_figures_ignore_the_users_style_and_leave_it_alone() -> None:
    import matplotlib

    with matplotlib.rc_context({"text.color": "red", "axes.labelcolor": "red", "font.size": 30}):
        axes = residual_figure([0.5, 0.7], [1.0, 1.0], [0, 1]).axes[1]
        assert axes.xaxis.label.get_color() == INK
        assert axes.xaxis.label.get_fontsize() < 12
        assert matplotlib.rcParams["font.size"] == 30
