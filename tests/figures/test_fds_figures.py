"""Diagnostics of FDS by bin and by epoch, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dir import FDS, LabelBins
from dir.figures import FDSHistory, bin_diagnostics, fds_bins_figure, fds_epochs_figure


def trained(epochs: int = 1, **settings: object) -> tuple[FDS, FDSHistory]:
    """Return an FDS of 6 features and 8 bins after some epochs, and its history. Bin 7 is empty."""
    torch.manual_seed(0)
    fds = FDS(6, LabelBins.integers(0, 7), **settings).double()
    history = FDSHistory(fds)
    for epoch in range(epochs):
        labels = torch.arange(210) % 7
        features = torch.randn(210, 6, dtype=torch.float64) * (1 + labels[:, None]) ** 2 + epoch * labels[:, None]
        fds(features.requires_grad_(), labels)
        history.add(fds.end_epoch())
    return fds, history


def test_shares_of_clipped_features_equal_a_loop_and_the_layers_own_share() -> None:
    fds, history = trained(ratio_clip=(0.8, 1.2))
    found = bin_diagnostics(fds)
    mean, var = (table.numpy() for table in fds.smoothed_statistics())
    own_mean, own_var = fds.running_mean.numpy(), fds.running_var.numpy()
    for b in range(7):
        ratio = var[b] / own_var[b]
        assert found.low[b] == np.mean(ratio <= 0.8)
        assert found.high[b] == np.mean(ratio >= 1.2)
        gap = np.sort(np.abs(mean[b] - own_mean[b]) / np.sqrt(own_var[b]))
        assert found.mean_gap[b].item() == pytest.approx(gap[2])  # torch's median of 6 values is the lower one
    assert torch.isnan(found.low[7])
    assert torch.isnan(found.mean_gap[7])
    clipped = (found.low + found.high)[:7].mean().item()
    assert clipped == pytest.approx(history.values["clipped"][0])
    assert 0 < clipped < 1


def test_drift_equals_numpy_and_starts_with_the_second_epoch() -> None:
    fds, history = trained(epochs=1)
    assert np.isnan(history.values["mean_drift"]).all()
    old_mean, old_var = fds.running_mean.numpy().copy(), fds.running_var.numpy().copy()
    labels = torch.arange(210) % 7
    fds(torch.randn(210, 6, dtype=torch.float64, requires_grad=True), labels)
    drift = history.add(fds.end_epoch())
    gap = (fds.running_mean.numpy() - old_mean)[:7] ** 2 / old_var[:7]
    assert drift["mean_drift"] == pytest.approx(np.sqrt(gap.mean()))
    logs = np.abs(np.log(fds.running_var.numpy()[:7] / old_var[:7]))
    assert drift["var_drift"] == pytest.approx(logs.mean())
    assert history.values["epoch"] == [1, 2]


def test_panels_follow_the_settings() -> None:
    names = ("share of clipped features", "shift of the mean, own SD", "share of own statistics kept")
    for settings, shown in (
        ({}, names[:2]),
        ({"statistics": "mean"}, names[1:2]),
        ({"shrinkage": 30.0, "statistics": "mean"}, names[1:]),
        ({"shrinkage": 30.0}, names),
    ):
        figure = fds_bins_figure(trained(**settings)[0], "years")
        assert [axes.get_ylabel() for axes in figure.axes if axes.lines] == list(shown)
    kept = figure.axes[2].lines[0].get_ydata()
    np.testing.assert_allclose(kept[:7], 0.5)
    assert np.isnan(kept[7])


def test_the_epochs_show_every_diagnostic_of_the_history() -> None:
    _, history = trained(epochs=4)
    figure = fds_epochs_figure(history.values)
    clipped, gaps, drifts = figure.axes
    np.testing.assert_allclose(clipped.lines[0].get_ydata(), history.values["clipped"])
    np.testing.assert_allclose(gaps.lines[0].get_ydata(), history.values["mean_gap"])
    np.testing.assert_allclose(drifts.lines[1].get_ydata(), history.values["var_drift"])
    assert list(drifts.lines[0].get_xdata()) == [1, 2, 3, 4]


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(RuntimeError, match="end_epoch"):
        fds_bins_figure(FDS(2, LabelBins.integers(0, 3)))
    with pytest.raises(ValueError, match="history: expected at least one epoch"):
        fds_epochs_figure({})
