"""Labels in chunks: the same numbers as from all labels at once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dir import LDS, DenseWeight, LabelBins
from dir.data.arrays import automatic_bins
from dir.data.label_chunks import LabelChunks

LABELS = torch.distributions.Exponential(1.0).sample((997,)) + 100.0


def chunks(labels: Tensor = LABELS, size: int = 100) -> LabelChunks:
    return LabelChunks(lambda: iter([*labels.split(size), labels[:0]]))


def test_moments_are_those_of_all_labels_far_from_zero() -> None:
    wide = LABELS.double()
    assert chunks().moments() == pytest.approx((float(wide.mean()), float(wide.std())), rel=1e-12)
    assert LabelChunks(lambda: iter([LABELS])).moments() == (float(wide.mean()), float(wide.std()))
    logs = LABELS.log1p().double()
    assert chunks().moments(torch.log1p) == pytest.approx((float(logs.mean()), float(logs.std())), rel=1e-9)


def test_chunks_of_one_label_have_moments_too() -> None:
    assert chunks(torch.tensor([1.0, 2.0, 6.0]), 1).moments() == pytest.approx((3.0, 7.0**0.5))


@pytest.mark.parametrize("labels", [LABELS, LABELS.round(), torch.cat([LABELS.round(), torch.tensor([101.5])])])
def test_the_ends_give_the_bins_of_all_labels(labels: Tensor) -> None:
    torch.testing.assert_close(automatic_bins(chunks(labels).ends(), 20).edges, automatic_bins(labels, 20).edges)
    assert chunks(labels).range == (float(labels.min()), float(labels.max()))


def test_counts_and_first_labels_are_those_of_all_labels() -> None:
    bins = LabelBins.uniform(100.0, 104.0, 30)
    assert torch.equal(chunks().counts(bins), bins.counts(LABELS))
    assert torch.equal(chunks().first(150), LABELS[:150])
    assert torch.equal(chunks().all(), LABELS)


@pytest.mark.parametrize("kind", [LDS, DenseWeight])
def test_weights_fitted_in_chunks_are_those_of_all_labels(kind: type[LDS | DenseWeight]) -> None:
    bins = LabelBins.uniform(100.0, 104.0, 30)
    expected = kind(bins).fit(LABELS)
    torch.testing.assert_close(chunks().fit(kind(bins)).weights, expected.weights)
