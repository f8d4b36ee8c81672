"""Tests of LabelBins: np.histogram and searchsorted, the published STS-B bins, and unusual labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dir.bins import LabelBins

finite = st.floats(-1e4, 1e4, allow_nan=False, allow_infinity=False, width=32)


def reference_index(labels: np.ndarray, edges: np.ndarray, num_bins: int) -> np.ndarray:
    """Return the bin index: bin i is [edge i, edge i + 1), the last bin includes its top edge, others are clamped."""
    index = np.searchsorted(edges, labels, side="right") - 1
    return np.clip(index, 0, num_bins - 1)


def test_published_sts_bins_are_reproduced_exactly(golden) -> None:
    z = golden("lds_weights.npz", key="sts/labels")
    bins = LabelBins.uniform(0.0, 5.0, 50)
    labels = torch.from_numpy(z["sts/labels"])
    assert np.array_equal(bins.edges.numpy(), z["sts/bin_edges_f32"])
    assert np.array_equal(bins(labels).numpy(), z["sts/bin_index"])
    assert np.array_equal(bins.counts(labels).numpy(), z["sts/bin_counts"])


def test_published_age_bins_are_reproduced_exactly(golden) -> None:
    z = golden("lds_weights.npz", key="agedb/labels")
    labels = torch.from_numpy(z["agedb/labels"])
    bins = LabelBins.integers(0, 120)
    assert bins.num_bins == 121
    assert torch.equal(bins(labels), labels)
    assert np.array_equal(bins.counts(labels.float()).numpy(), z["agedb/bin_counts"])


def test_uniform_edges_are_computed_in_float64_and_kept_in_float32() -> None:
    bins = LabelBins.uniform(0.0, 5.0, 50)
    assert bins.edges.dtype == torch.float32
    assert np.array_equal(bins.edges.numpy(), np.linspace(0.0, 5.0, 51).astype(np.float32))
    assert not np.array_equal(bins.edges.numpy(), torch.linspace(0.0, 5.0, 51).numpy())
    np.testing.assert_allclose(bins.centers.numpy(), np.arange(50) * 0.1 + 0.05, rtol=1e-6)


def test_float64_bins_separate_labels_beyond_2_to_the_24() -> None:
    base = 2**24
    labels = torch.tensor([base, base + 1, base + 2, base + 3])
    assert LabelBins.integers(base, base + 3, dtype=torch.float64)(labels).tolist() == [0, 1, 2, 3]


def test_float64_labels_are_compared_in_the_type_of_the_edges() -> None:
    # The edge is float32(0.3). In float64, 0.3 is below the edge; after rounding to float32 they are equal.
    bins = LabelBins.uniform(0.0, 1.0, 10)
    labels = torch.arange(10, dtype=torch.float64) / 10
    assert bins(labels).tolist() == bins(labels.float()).tolist() == list(range(10))


def test_integers_have_one_bin_per_whole_number_with_both_ends() -> None:
    bins = LabelBins.integers(-3, 4)
    assert bins.num_bins == 8
    assert bins(torch.arange(-3, 5)).tolist() == list(range(8))
    assert bins.centers.tolist() == list(range(-3, 5))


def test_top_edge_belongs_to_the_last_bin_even_when_excluding() -> None:
    for policy in ("clamp", "exclude"):
        bins = LabelBins.uniform(0.0, 1.0, 4, out_of_range=policy)
        assert bins(torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])).tolist() == [0, 1, 2, 3, 3]


def test_out_of_range_labels_clamp_or_are_excluded() -> None:
    labels = torch.tensor([-9.0, 0.5, 9.0])
    clamp, exclude = (LabelBins.uniform(0.0, 1.0, 4, out_of_range=p) for p in ("clamp", "exclude"))
    assert clamp(labels).tolist() == [0, 2, 3]
    assert exclude(labels).tolist() == [4, 2, 4]
    assert clamp.counts(labels).tolist() == [1, 0, 1, 1]
    assert exclude.counts(labels).tolist() == [0, 0, 1, 0]


@pytest.mark.parametrize("policy", ["clamp", "exclude"])
def test_non_finite_labels_have_no_bin(policy: str) -> None:
    bins = LabelBins.uniform(0.0, 1.0, 4, out_of_range=policy)
    labels = torch.tensor([float("nan"), 0.5, float("inf"), -float("inf")])
    assert bins(labels).tolist() == [4, 2, 4, 4]
    assert bins.counts(labels).tolist() == [0, 0, 1, 0]


@pytest.mark.parametrize("shape", [(6,), (6, 1), (2, 1, 3, 1), (0,), (0, 1), ()])
def test_index_has_the_shape_of_the_labels(shape: tuple[int, ...]) -> None:
    bins = LabelBins.uniform(-1.0, 1.0, 4)
    labels = torch.rand(shape) * 2 - 1
    index = bins(labels)
    assert index.shape == labels.shape
    assert index.dtype == torch.int64
    assert int(bins.counts(labels).sum()) == labels.numel()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64, torch.float64])
def test_label_types(dtype: torch.dtype) -> None:
    assert LabelBins.integers(0, 9)(torch.tensor([0, 5, 9], dtype=dtype)).tolist() == [0, 5, 9]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_labels_are_a_type_error(dtype: torch.dtype) -> None:
    bins = LabelBins.integers(0, 9)
    with pytest.raises(TypeError, match="label"):
        bins(torch.tensor([1.0], dtype=dtype))


def test_quantile_bins_hold_equal_shares_and_merge_tied_edges() -> None:
    labels = torch.arange(100.0)
    bins = LabelBins.quantiles(labels, 4)
    assert bins.num_bins == 4
    assert bins.counts(labels).tolist() == [25, 25, 25, 25]
    tied = torch.cat([torch.zeros(90), torch.arange(1.0, 11.0)])
    merged = LabelBins.quantiles(tied, 10)
    assert merged.num_bins < 10
    assert bool((merged.edges.diff() > 0).all())
    assert int(merged.counts(tied).sum()) == 100


def test_from_edges_uneven() -> None:
    edges = [0.0, 1.0, 10.0, 100.0]
    bins = LabelBins.from_edges(edges)
    assert bins.num_bins == 3
    assert bins.edges.tolist() == edges
    assert bins.centers.tolist() == [0.5, 5.5, 55.0]
    assert bins(torch.tensor([0.0, 0.99, 1.0, 9.9, 10.0, 100.0])).tolist() == [0, 0, 1, 1, 2, 2]


BAD = {
    "no bins": lambda: LabelBins.uniform(0.0, 1.0, 0),
    "reversed": lambda: LabelBins.uniform(1.0, 0.0, 4),
    "empty range": lambda: LabelBins.uniform(1.0, 1.0, 4),
    "infinite": lambda: LabelBins.uniform(0.0, float("inf"), 4),
    "integers reversed": lambda: LabelBins.integers(4, 3),
    "edges fall": lambda: LabelBins.from_edges([0.0, 2.0, 1.0]),
    "edges tie": lambda: LabelBins.from_edges([0.0, 1.0, 1.0]),
    "one edge": lambda: LabelBins.from_edges([0.0]),
    "nan edge": lambda: LabelBins.from_edges([0.0, float("nan"), 1.0]),
    "policy": lambda: LabelBins.uniform(0.0, 1.0, 4, out_of_range="drop"),
    "narrower than float32": lambda: LabelBins.uniform(1e8, 1e8 + 10, 1000),
    "quantiles of nothing": lambda: LabelBins.quantiles(torch.empty(0), 4),
    "quantiles of nan": lambda: LabelBins.quantiles(torch.tensor([0.0, float("nan")]), 2),
    "integers beyond float32": lambda: LabelBins.integers(2**24, 2**24 + 3),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_are_value_errors(case: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the wording is the package's
        BAD[case]()


@settings(max_examples=60, deadline=None)
@given(
    edges=st.lists(finite, min_size=2, max_size=12, unique=True).map(sorted),
    labels=st.lists(finite, max_size=20),
)
def test_any_edges_agree_with_searchsorted(edges: list[float], labels: list[float]) -> None:
    bins = LabelBins.from_edges(edges)
    values = np.array(labels + edges, dtype=np.float32)
    index = bins(torch.from_numpy(values)).numpy()
    expected = reference_index(values, np.array(edges, np.float32), len(edges) - 1)
    assert np.array_equal(index, expected)
    strict = LabelBins.from_edges(edges, out_of_range="exclude")
    outside = (values < edges[0]) | (values > edges[-1])
    assert np.array_equal(strict(torch.from_numpy(values)).numpy(), np.where(outside, len(edges) - 1, expected))


@settings(max_examples=60, deadline=None)
@given(low=st.floats(-1e3, 1e3), width=st.floats(0.1, 1e3), num_bins=st.integers(1, 100), seed=st.integers(0, 99))
def test_uniform_bins_agree_with_numpy_histogram(low: float, width: float, num_bins: int, seed: int) -> None:
    bins = LabelBins.uniform(low, low + width, num_bins)
    edges = bins.edges.numpy()
    values = np.random.default_rng(seed).uniform(edges[0], edges[-1], 50).astype(np.float32)
    values = np.concatenate([values, edges]).clip(edges[0], edges[-1])
    expected, _ = np.histogram(values, edges)
    assert np.array_equal(bins.counts(torch.from_numpy(values)).numpy(), expected)


def test_casting_never_narrows_the_edges_and_double_widens_them() -> None:
    bins = LabelBins.uniform(0.0, 5.0, 50)
    exact = bins.edges.clone()
    for cast in (torch.nn.Module.half, torch.nn.Module.bfloat16, lambda m: m.to(torch.float16)):
        assert torch.equal(cast(bins).edges, exact)
    assert bins.edges.dtype == torch.float32
    labels = torch.linspace(0, 5, 501)
    before = bins(labels)
    assert bins.double().edges.dtype == torch.float64
    assert torch.equal(bins(labels), before)


def test_bins_move_with_the_module_and_repr_shows_their_number() -> None:
    bins = LabelBins.uniform(0.0, 5.0, 50)
    assert "50" in repr(bins)
    assert bins.to("meta").edges.device.type == "meta"


def test_loading_edges_of_another_number_of_bins_is_refused() -> None:
    """Check that the edges come either from the state_dict or from the constructor."""
    source, target = LabelBins.uniform(0.0, 5.0, 50), LabelBins.uniform(0.0, 5.0, 50)
    target.load_state_dict(source.state_dict())
    assert torch.equal(source.edges, target.edges)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_bins_on_cuda_agree_with_the_cpu() -> None:
    bins = LabelBins.uniform(0.0, 5.0, 50, out_of_range="exclude")
    labels = torch.cat([torch.rand(1000) * 6 - 0.5, bins.edges, torch.tensor([float("nan")])])
    expected = bins(labels)
    bins.cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        index = bins(labels.cuda())
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert index.is_cuda
    assert torch.equal(index.cpu(), expected)


def test_double_does_not_move_labels_between_bins() -> None:
    bins = LabelBins.uniform(0.0, 5.0, 50)
    labels = torch.arange(51, dtype=torch.float64) / 10
    before = bins(labels)
    widened = bins.double()
    assert widened.edges.dtype == torch.float64
    assert torch.equal(widened(labels), before)
