"""Feature statistics and their similarity, against NumPy and the layer's own calibration."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dir import FDS, LabelBins
from dir.figures import cosine_similarity_of_bins, fds_statistics, feature_statistics, similarity_figure


def sample(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return features [400, 5] that move with their labels in 0..8, and the labels; label 8 has one row."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 7, (400,), generator=generator).double()
    labels[0] = 8.0
    slope = torch.randn(5, generator=generator).double()
    noise = torch.randn(400, 5, generator=generator).double() * (1 + labels[:, None])
    return labels[:, None] * slope + noise, labels


def test_statistics_of_any_features_equal_numpy() -> None:
    features, labels = sample()
    found = feature_statistics(features, labels, LabelBins.integers(0, 9))
    for label in range(10):
        rows = features[labels == label].numpy()
        assert found.count[label] == len(rows)
        if len(rows) > 1:
            np.testing.assert_allclose(found.mean[label], rows.mean(0))
            np.testing.assert_allclose(found.var[label], rows.var(0, ddof=1))
    assert torch.isnan(found.var[8]).all()
    assert torch.isfinite(found.mean[8]).all()
    assert torch.isnan(found.mean[9]).all()


def test_labels_outside_of_excluding_bins_are_left_out() -> None:
    bins = LabelBins.integers(0, 1, out_of_range="exclude")
    found = feature_statistics(torch.tensor([[1.0], [2.0], [9.0]]), [0, 1, 5], bins)
    assert found.count.tolist() == [1, 1]


def test_statistics_after_fds_are_those_of_the_calibrated_features() -> None:
    features, labels = sample()
    fds = FDS(5, LabelBins.integers(0, 9), momentum=0.0).double()
    fds(features.requires_grad_(), labels)
    fds.end_epoch()
    before, after = fds_statistics(fds)
    calibrated = fds(features, labels).detach()
    for found, values in ((before, features.detach()), (after, calibrated)):
        own = feature_statistics(values, labels, LabelBins.integers(0, 9))
        seen = torch.isfinite(own.mean)
        torch.testing.assert_close(found.mean[seen], own.mean[seen])
        trusted = torch.isfinite(own.var)
        torch.testing.assert_close(found.var[trusted], own.var[trusted])
        assert torch.equal(torch.isfinite(found.var), trusted)
    assert not torch.allclose(before.mean[:8], after.mean[:8])


def test_an_fds_without_epochs_has_no_statistics() -> None:
    with pytest.raises(RuntimeError, match="end_epoch"):
        fds_statistics(FDS(5, LabelBins.integers(0, 9)))


def test_cosines_equal_a_loop() -> None:
    features, labels = sample()
    mean = feature_statistics(features, labels, LabelBins.integers(0, 9)).mean
    found = cosine_similarity_of_bins(mean)
    for i in range(9):
        for j in range(9):
            a, b = mean[i].numpy(), mean[j].numpy()
            if np.isfinite(a).all() and np.isfinite(b).all():
                expected = a @ b / np.sqrt((a @ a) * (b @ b))
                assert found[i, j].item() == pytest.approx(expected)
    assert torch.isnan(found[9]).all()


def test_the_figure_shows_the_anchor_line_and_the_maps() -> None:
    features, labels = sample()
    fds = FDS(5, LabelBins.integers(0, 9), momentum=0.0).double()
    fds(features.requires_grad_(), labels)
    fds.end_epoch()
    before, after = fds_statistics(fds)
    figure = similarity_figure(before, after, anchor=3, unit="years")
    lines = {line.get_label(): line.get_ydata() for line in figure.axes[0].lines}
    np.testing.assert_allclose(lines["before FDS"], cosine_similarity_of_bins(before.mean)[3].numpy())
    np.testing.assert_allclose(lines["after FDS"], cosine_similarity_of_bins(after.mean)[3].numpy())
    maps = [axes.collections[0].get_array() for axes in figure.axes if axes.get_title().startswith("variance")]
    np.testing.assert_allclose(maps[1].filled(np.nan), cosine_similarity_of_bins(after.var).numpy())
    assert {axes.get_xlabel() for axes in figure.axes} >= {"label (years)"}


def test_the_default_anchor_is_the_most_frequent_label() -> None:
    features, labels = sample()
    found = feature_statistics(features, labels, LabelBins.integers(0, 9))
    line = next(line for line in similarity_figure(found).axes[0].lines if "anchor, label" in str(line.get_label()))
    assert line.get_xdata()[0] == found.count.argmax()


def test_what_cannot_be_drawn_is_refused() -> None:
    features, labels = sample()
    bins = LabelBins.integers(0, 9)
    found = feature_statistics(features, labels, bins)
    with pytest.raises(ValueError, match=r"anchor: expected a label in \[-0\.5, 9\.5\], got 12"):
        similarity_figure(found, anchor=12)
    with pytest.raises(ValueError, match="anchor: expected a label whose bin has samples, got 9"):
        similarity_figure(found, anchor=9)
    with pytest.raises(ValueError, match="at least 2 features"):
        similarity_figure(feature_statistics(features[:, :1], labels, bins))
    with pytest.raises(ValueError, match="after: expected the bins"):
        similarity_figure(found, feature_statistics(features, labels, LabelBins.integers(0, 8)))
    with pytest.raises(ValueError, match=r"features: expected \[N, D\]"):
        feature_statistics(features[:3], labels, bins)
    with pytest.raises(ValueError, match="features: expected finite values"):
        feature_statistics(features * torch.inf, labels, bins)
