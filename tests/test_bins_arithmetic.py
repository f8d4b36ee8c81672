"""Tests of binning by arithmetic: the index equals that of a search for every label."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dir._even_edges import _FEW, EvenEdges
from dir.bins import LabelBins

EVEN = {
    "ages": LabelBins.integers(0, 120),
    "whole years": LabelBins.uniform(0.0, 121.0, 121),
    "scores": LabelBins.uniform(0.0, 5.0, 50),
    "negative": LabelBins.uniform(-7.3, -1.1, 37),
    "thin": LabelBins.uniform(0.0, 1.0, 4096),
    "one": LabelBins.uniform(2.0, 3.0, 1),
    "far": LabelBins.integers(60_000, 60_100),
    "signed": LabelBins.integers(-40, 40),
    "float64": LabelBins.uniform(0.0, 1e9, 1000, dtype=torch.float64),
}


def many(values: torch.Tensor) -> torch.Tensor:
    """Return the values repeated, so many that they are binned by arithmetic."""
    return values.repeat(-(-_FEW // len(values)))


def arithmetic(bins: LabelBins) -> EvenEdges | None:
    """Return the arithmetic that the bins use for many labels, or None if they search."""
    edges = bins._edges()
    return bins._search.arithmetic(many(edges), edges)


def by_numpy(bins: LabelBins, labels: torch.Tensor) -> np.ndarray:
    edges = bins.edges.to(bins.dtype).numpy()
    values = labels.to(bins.dtype).numpy()
    index = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, bins.num_bins - 1)
    outside = ~np.isfinite(values)
    if bins.out_of_range == "exclude":
        outside |= (values < edges[0]) | (values > edges[-1])
    return np.where(outside, bins.num_bins, index)


@pytest.mark.parametrize("name", EVEN)
def test_labels_around_every_edge(name: str) -> None:
    bins = EVEN[name]
    edges = bins.edges.to(bins.dtype)
    labels = torch.cat(
        [edges, *(torch.nextafter(edges, torch.full_like(edges, to)) for to in (-torch.inf, torch.inf))]
    )
    labels = many(torch.cat([labels, labels * 3, -labels]))
    np.testing.assert_array_equal(bins(labels).numpy(), by_numpy(bins, labels))


@pytest.mark.parametrize("out_of_range", ["clamp", "exclude"])
@pytest.mark.parametrize("name", EVEN)
def test_many_labels_in_the_range_and_beyond(name: str, out_of_range: str) -> None:
    bins = LabelBins(EVEN[name].edges, out_of_range, EVEN[name].dtype)
    low, high = bins.edges[0].item(), bins.edges[-1].item()
    wide = high - low
    labels = low - wide / 5 + 1.4 * wide * torch.rand(300_001, dtype=bins.dtype, generator=torch.manual_seed(4))
    np.testing.assert_array_equal(bins(labels).numpy(), by_numpy(bins, labels))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    low=st.floats(-1e6, 1e6, width=32),
    width=st.floats(2**-10, 1e6, width=32),
    num_bins=st.integers(1, 3000),
    seed=st.integers(0, 2**16),
    double=st.booleans(),
)
def test_any_even_bins(low: float, width: float, num_bins: int, seed: int, double: bool) -> None:
    try:
        bins = LabelBins.uniform(low, low + width, num_bins, dtype=torch.float64 if double else torch.float32)
    except ValueError:
        return  # edges that coincide after rounding
    generator = np.random.default_rng(seed)
    edges = bins.edges.numpy()
    near = generator.choice(edges, 500)
    labels = np.concatenate(
        [near, np.nextafter(near, -np.inf), generator.uniform(low - width, low + 2 * width, 2000)]
    )
    values = torch.from_numpy(labels.astype(edges.dtype))
    np.testing.assert_array_equal(bins(values).numpy(), by_numpy(bins, values))


def test_integer_bins_use_exact_float64_arithmetic_without_comparison() -> None:
    even = arithmetic(LabelBins.integers(0, 120))
    assert even is not None
    assert (even.dtype, even.starts) == (torch.float64, None)


@pytest.mark.parametrize("out_of_range", ["clamp", "exclude"])
def test_non_finite_labels_among_many_are_in_no_bin(out_of_range: str) -> None:
    bins = LabelBins.integers(0, 9, out_of_range=out_of_range)
    special = [torch.nan, torch.inf, -torch.inf, 3.4e38, -3.4e38, 1e-45, -0.0, 4.5]
    labels = many(torch.tensor(special))
    labels = torch.cat([torch.arange(10.0).repeat(5000), labels])
    np.testing.assert_array_equal(bins(labels).numpy(), by_numpy(bins, labels))


def test_shapes_strides_and_integers() -> None:
    bins = LabelBins.integers(0, 120)
    maps = torch.randint(-5, 130, (3, 1, 40, 60))
    assert bins(maps).shape == maps.shape
    np.testing.assert_array_equal(bins(maps).numpy(), by_numpy(bins, maps))
    turned = maps.float().transpose(0, 3)
    np.testing.assert_array_equal(bins(turned).numpy(), by_numpy(bins, turned))


def test_uneven_edges_are_searched_and_loaded_edges_choose_again() -> None:
    even, uneven = LabelBins.uniform(0.0, 4.0, 4), LabelBins.from_edges([0.0, 1.0, 1.5, 3.0, 4.0])
    assert arithmetic(even) is not None
    assert arithmetic(uneven) is None
    even.load_state_dict(uneven.state_dict())
    labels = 4 * torch.rand(5000)
    np.testing.assert_array_equal(even(labels).numpy(), by_numpy(uneven, labels))
    uneven.load_state_dict(LabelBins.uniform(0.0, 4.0, 4).state_dict())
    assert arithmetic(uneven) is not None
    np.testing.assert_array_equal(uneven(labels).numpy(), by_numpy(LabelBins.uniform(0.0, 4.0, 4), labels))


def test_edges_too_far_out_for_the_arithmetic_are_searched() -> None:
    bins = LabelBins.uniform(1e6, 1e6 + 10, 37)
    assert arithmetic(bins) is None
    labels = 1e6 + 10 * torch.rand(5000)
    np.testing.assert_array_equal(bins(labels).numpy(), by_numpy(bins, labels))


def test_widened_bins_keep_their_rounding() -> None:
    bins = LabelBins.uniform(0.0, 5.0, 50)
    labels = torch.rand(5000) * 5
    expected = bins(labels)
    assert torch.equal(bins.double()(labels.double()), expected)


@pytest.mark.parametrize("name", ["ages", "scores", "thin"])
@pytest.mark.parametrize("shape", [(-1,), (-1, 1, 1), (2, 1, -1, 4)])
def test_labels_of_any_shape_and_labels_with_a_gradient(name: str, shape: tuple[int, ...]) -> None:
    bins = EVEN[name]
    labels = (torch.rand(2 * _FEW, generator=torch.manual_seed(1)) * bins.edges[-1]).view(shape)
    expected = by_numpy(bins, labels)
    for given_labels in (labels, labels.clone().requires_grad_(), labels.transpose(0, -1)):
        index = bins(given_labels)
        assert index.dtype == torch.int64
        assert not index.requires_grad
        turned = given_labels.shape != labels.shape
        np.testing.assert_array_equal(index.numpy(), np.swapaxes(expected, 0, -1) if turned else expected)
