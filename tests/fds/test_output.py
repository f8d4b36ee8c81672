from __future__ import annotations

import pytest
import torch

from dir.bins import LabelBins
from dir.fds import FDS
from dir.fds.output import OutputFDS

BINS = LabelBins.integers(0, 9)
LABELS = torch.cat([torch.zeros(30), torch.arange(10.0), torch.full((60,), 4.0)])
PREDICTIONS = 0.6 * LABELS + 1.5


def fds(features: int = 1) -> FDS:
    return FDS(
        features,
        BINS,
        kernel="exact_gaussian",
        kernel_size=99,
        sigma=3.0,
        count_weighted=True,
        shrinkage=5.0,
        statistics="mean",
    )


def expected_shift(means: torch.Tensor) -> torch.Tensor:
    """Return (1 - a)(S m - m) per bin, in NumPy."""
    counts = BINS.counts(LABELS).double()
    place = torch.arange(10.0, dtype=torch.float64)
    kernel = torch.exp(-((place[:, None] - place) ** 2) / (2 * 3.0**2)) * counts
    smoothed = (kernel @ means.double()) / kernel.sum(1)
    return ((1 - counts / (counts + 5)) * (smoothed - means)).float()


@pytest.mark.parametrize("track", ["prediction", "label"])
def test_the_shift_is_the_smoothed_minus_the_own_mean_of_the_bin(track: str) -> None:
    shift = OutputFDS(fds(), track)
    targets = (LABELS - 5) / 2
    assert torch.equal(shift(PREDICTIONS, targets, LABELS), PREDICTIONS)
    shift.fds.end_epoch()
    centers = torch.arange(10.0)
    means = 0.6 * centers + 1.5 if track == "prediction" else (centers - 5) / 2
    expected = PREDICTIONS + expected_shift(means).index_select(0, LABELS.long())
    torch.testing.assert_close(shift(PREDICTIONS, targets, LABELS), expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(shift.eval()(PREDICTIONS, targets, LABELS), PREDICTIONS)


def test_tracking_predictions_equals_fds_before_a_linear_head() -> None:
    torch.manual_seed(0)
    head = torch.nn.Linear(4, 1)
    features = torch.randn(len(LABELS), 4) + LABELS[:, None]
    on_features, on_output = fds(4), OutputFDS(fds())
    predictions = head(features).squeeze(1).detach()
    on_features(features, LABELS), on_output(predictions, LABELS, LABELS)
    on_features.end_epoch(), on_output.fds.end_epoch()
    through = head(on_features(features, LABELS)).squeeze(1)
    torch.testing.assert_close(on_output(predictions, LABELS, LABELS), through, rtol=1e-4, atol=1e-4)


def test_half_precision_predictions_get_the_same_shift() -> None:
    far = OutputFDS(fds())
    predictions = (PREDICTIONS + 60).bfloat16()  # steps of 0.25 there
    far(predictions, LABELS, LABELS)
    far.fds.end_epoch()
    shift = far(predictions, LABELS, LABELS) - predictions.float()
    wide = far(predictions.float(), LABELS, LABELS) - predictions.float()
    torch.testing.assert_close(shift, wide, rtol=0, atol=1e-6)
    assert wide.abs().max() > 0.01


def test_gradients_pass_unchanged() -> None:
    shift = OutputFDS(fds())
    predictions = PREDICTIONS.clone().requires_grad_()
    shift(predictions, LABELS, LABELS)
    shift.fds.end_epoch()
    shift(predictions, LABELS, LABELS).sum().backward()
    assert torch.equal(predictions.grad, torch.ones_like(predictions))


def test_wrong_arguments_and_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="num_features=1"):
        OutputFDS(fds(2))
    with pytest.raises(ValueError, match="statistics='mean'"):
        OutputFDS(FDS(1, BINS))
    with pytest.raises(ValueError, match="track"):
        OutputFDS(fds(), "features")
    with pytest.raises(ValueError, match=r"predictions.*got \[3, 2\]"):
        OutputFDS(fds())(torch.zeros(3, 2), torch.zeros(3), torch.zeros(3))


@pytest.mark.parametrize("track", ["prediction", "label"])
def test_masked_labels_are_ignored_and_their_predictions_stay(track: str) -> None:
    """The oracle is OutputFDS on the other rows alone."""
    mask = torch.arange(len(LABELS)) % 3 != 0
    ours, expected = OutputFDS(fds(), track), OutputFDS(fds(), track)
    holes = LABELS.masked_fill(~mask, torch.nan)
    for epoch in range(2):
        predictions = PREDICTIONS.clone().requires_grad_()
        shifted = ours(predictions, (holes - 5) / 2, holes, mask)
        rest = expected(PREDICTIONS[mask], (LABELS[mask] - 5) / 2, LABELS[mask])
        assert torch.equal(shifted[mask], rest)
        assert torch.equal(shifted[~mask], PREDICTIONS[~mask])
        assert torch.equal(torch.autograd.grad(shifted.sum(), predictions)[0], torch.ones_like(PREDICTIONS))
        assert ours.fds.end_epoch()["labels_excluded"] == (~mask).sum(), epoch
        expected.fds.end_epoch()
    assert not torch.equal(shifted[mask], PREDICTIONS[mask])
    with pytest.raises(TypeError, match="mask"):
        ours(PREDICTIONS, LABELS, LABELS, torch.ones_like(LABELS))
