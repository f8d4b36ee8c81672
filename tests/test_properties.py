"""Properties that hold for any bins, labels and features, tested with hypothesis."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dir.bins import LabelBins
from dir.data.csv_reading import read_table
from dir.data.npz_images import NpzImages
from dir.data.stsb import read_stsb
from dir.data.table_checks import as_numbers
from dir.data.tables import TableEncoder
from dir.fds import FDS
from dir.lds import LDS

FLOATS = st.floats(-1e6, 1e6, width=32)
EDGES = st.lists(FLOATS, min_size=2, max_size=30, unique=True).map(sorted)
QUICK = settings(max_examples=60, deadline=None)
FEW = settings(max_examples=25, deadline=None)


# --- binning


@QUICK
@given(EDGES, st.lists(FLOATS, max_size=50), st.sampled_from(["clamp", "exclude"]))
def test_bin_index_equals_that_of_a_search(edges: list[float], labels: list[float], policy: str) -> None:
    # Labels on the edges are the most likely to be wrong.
    values = np.array([*labels, *edges], dtype=np.float32)
    walls = np.array(edges, dtype=np.float32)
    index = LabelBins.from_edges(edges, policy)(torch.from_numpy(values)).numpy()  # type: ignore[arg-type]
    expected = np.searchsorted(walls, values, side="right") - 1
    expected[values == walls[-1]] = len(edges) - 2  # the top edge belongs to the last bin
    outside = (values < walls[0]) | (values > walls[-1])
    if policy == "clamp":
        expected = expected.clip(0, len(edges) - 2)
    else:
        expected[outside] = len(edges) - 1
    np.testing.assert_array_equal(index, expected)


@QUICK
@given(
    st.floats(-1e4, 1e4, width=32), st.floats(0.125, 1e4, width=32), st.integers(1, 500), st.integers(0, 2**32 - 1)
)
def test_bin_index_of_many_labels_equals_a_search_and_is_monotone(
    low: float, width: float, num_bins: int, seed: int
) -> None:
    try:
        bins = LabelBins.uniform(low, low + width, num_bins)
    except ValueError:  # too fine for float32
        return
    rng = np.random.default_rng(seed)
    edges = bins.edges.numpy()
    # So many labels that arithmetic bins them, also on the edges and next to the edges.
    beside = [np.nextafter(edges, np.float32(side)) for side in (-np.inf, np.inf)]
    labels = np.concatenate([rng.uniform(low - width, low + 2 * width, 5000), edges, *beside]).astype(np.float32)
    labels.sort()
    index = bins(torch.from_numpy(labels)).numpy()
    expected = (np.searchsorted(edges, labels, side="right") - 1).clip(0, num_bins - 1)
    np.testing.assert_array_equal(index, expected)
    assert (np.diff(index) >= 0).all()


@QUICK
@given(EDGES, st.lists(st.one_of(FLOATS, st.just(float("nan")), st.just(float("inf"))), max_size=40))
def test_every_label_is_counted_once_or_in_no_bin(edges: list[float], labels: list[float]) -> None:
    values = torch.tensor(labels)
    for policy in ("clamp", "exclude"):
        tally = LabelBins.from_edges(edges, policy).tally(values)  # type: ignore[arg-type]
        assert int(tally.sum()) == len(labels)
        nowhere = sum(not np.isfinite(x) or (policy == "exclude" and not edges[0] <= x <= edges[-1]) for x in labels)
        assert int(tally[-1]) == nowhere


# --- LDS

LABELS = st.lists(st.integers(0, 19), min_size=1, max_size=200).map(lambda found: torch.tensor(found).float())
SETTINGS = st.fixed_dictionaries(
    {
        "kernel": st.sampled_from([None, "gaussian", "exact_gaussian", "triangular", "laplace"]),
        "kernel_size": st.sampled_from([1, 3, 5, 9]),
        "sigma": st.floats(0.5, 5),
        "reweight": st.sampled_from(["inverse", "sqrt_inverse"]),
        "padding": st.sampled_from(["constant", "symmetric"]),
        "clip": st.sampled_from([None, (1.0, 5.0), (5.0, 1000.0)]),
    }
)


@QUICK
@given(LABELS, SETTINGS)
def test_weights_are_positive_with_mean_one_and_do_not_depend_on_the_order(labels: torch.Tensor, kw: dict) -> None:
    lds = LDS(LabelBins.integers(0, 19), **kw).fit(labels)
    weights = lds(labels)
    assert (weights > 0).all()
    assert torch.isfinite(lds.weights).all()
    assert weights.double().mean().item() == pytest.approx(1, rel=1e-5)
    shuffled = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(len(labels)))]
    again = LDS(LabelBins.integers(0, 19), **kw).fit(shuffled)
    assert torch.equal(again.weights, lds.weights)


@QUICK
@given(LABELS, SETTINGS)
def test_denser_bins_weigh_less(labels: torch.Tensor, kw: dict) -> None:
    lds = LDS(LabelBins.integers(0, 19), **kw).fit(labels)
    order = lds.density.argsort()
    supported = lds.density[order] > 0
    assert (lds.weights[order][supported].diff() <= 1e-9 * lds.weights.max()).all()
    # The product of weight and density is constant.
    assert (lds.weights * lds.density)[lds.density > 0].std(unbiased=False) < 1e-6 * (lds.weights * lds.density).max()


@QUICK
@given(LABELS, SETTINGS, st.integers(2, 7))
def test_repeating_all_labels_keeps_the_weights(labels: torch.Tensor, kw: dict, times: int) -> None:
    kw = {**kw, "clip": None}
    once = LDS(LabelBins.integers(0, 19), **kw).fit(labels)
    often = LDS(LabelBins.integers(0, 19), **kw).fit(labels.repeat(times))
    torch.testing.assert_close(often.weights, once.weights, rtol=1e-9, atol=0)


# --- FDS


def features(seed: int, labels: torch.Tensor, width: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    spread = 0.5 + torch.rand(20, width, generator=generator, dtype=torch.float64)
    noise = torch.randn(len(labels), width, generator=generator, dtype=torch.float64)
    return labels.double()[:, None] / 5 + noise * spread[labels.long()]


def closed(z: torch.Tensor, labels: torch.Tensor, **kw: object) -> FDS:
    fds = FDS(z.shape[1], LabelBins.integers(0, 19), **kw).double()  # type: ignore[arg-type]
    fds(z.requires_grad_(), labels)
    fds.end_epoch()
    return fds


FDS_SETTINGS = st.fixed_dictionaries(
    {
        "kernel_size": st.sampled_from([1, 3, 5, 9]),
        "sigma": st.floats(0.5, 5),
        "min_count": st.integers(2, 4),
        "count_weighted": st.booleans(),
        "shrinkage": st.sampled_from([None, 0.0, 10.0]),
        "statistics": st.sampled_from(["mean_var", "mean"]),
    }
)
pytestmark = pytest.mark.filterwarnings("ignore:FDS")


@QUICK
@given(LABELS, FDS_SETTINGS, st.integers(0, 1000))
def test_tables_are_finite_and_the_identity_for_bins_never_seen(labels: torch.Tensor, kw: dict, seed: int) -> None:
    fds = closed(features(seed, labels), labels, **kw)
    assert torch.isfinite(fds.scale).all()
    assert torch.isfinite(fds.shift).all()
    low, high = fds.ratio_clip
    assert ((fds.scale >= low**0.5 - 1e-12) & (fds.scale <= high**0.5 + 1e-12)).all()
    absent = torch.bincount(labels.long(), minlength=21) == 0  # the row of excluded labels is one of them
    assert (fds.scale[absent] == 1).all()
    assert (fds.shift[absent] == 0).all()
    # Features of a label in no bin are not changed either.
    z = torch.full((1, 3), 7.0, dtype=torch.float64)
    assert torch.equal(fds(z, torch.tensor([float("nan")])), z)


@FEW
@given(st.integers(2, 6), FDS_SETTINGS, st.integers(0, 1000))
def test_features_of_identical_bins_are_not_changed(count: int, kw: dict, seed: int) -> None:
    # All bins have the same samples, so smoothing does not change the statistics.
    labels = torch.arange(20.0).repeat_interleave(count)
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(count, 3, generator=generator, dtype=torch.float64).repeat(20, 1)
    fds = FDS(3, LabelBins.integers(0, 19), **kw).double()
    for _ in range(3):
        torch.testing.assert_close(fds(z.requires_grad_(), labels), z, rtol=1e-9, atol=1e-9)
        fds.end_epoch()


@FEW
@given(LABELS, FDS_SETTINGS, st.integers(0, 1000), st.floats(-50, 50), st.sampled_from([-3.0, 0.01, 0.5, 20.0]))
def test_calibration_is_equivariant_to_shift_and_scale(
    labels: torch.Tensor, kw: dict, seed: int, shift: float, scale: float
) -> None:
    z = features(seed, labels)
    plain, moved = closed(z.clone(), labels, **kw), closed(z * scale + shift, labels, **kw)
    expected = plain(z, labels) * scale + shift
    torch.testing.assert_close(moved(z * scale + shift, labels), expected, rtol=1e-6, atol=1e-6 * abs(scale) + 1e-8)


@FEW
@given(LABELS, FDS_SETTINGS, st.integers(0, 1000))
def test_the_order_and_the_batches_of_an_epoch_do_not_matter(labels: torch.Tensor, kw: dict, seed: int) -> None:
    z = features(seed, labels)
    whole = closed(z, labels, **kw)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    parts = FDS(3, LabelBins.integers(0, 19), **kw).double()
    for rows in order.split(7):
        parts(z[rows].requires_grad_(), labels[rows])
    parts.end_epoch()
    torch.testing.assert_close(parts.scale, whole.scale, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(parts.shift, whole.shift, rtol=1e-6, atol=1e-7)


# --- readers

WORDS = st.text(st.characters(blacklist_characters="\0\t\n\r\ufeff", blacklist_categories=["Cs"]), max_size=12)


@FEW
@given(st.lists(st.tuples(WORDS, WORDS, st.floats(0, 5, width=32)), min_size=1, max_size=8))
def test_stsb_round_trip(tmp_path_factory, rows: list[tuple[str, str, float]]) -> None:
    path = tmp_path_factory.mktemp("stsb") / "train_new.tsv"
    lines = ["sentence1\tsentence2\tscore", *("\t".join([a, b, repr(score)]) for a, b, score in rows)]
    path.write_bytes("\n".join(lines).encode() + b"\n")
    found = read_stsb(path)
    assert (found.first, found.second) == ([a for a, _, _ in rows], [b for _, b, _ in rows])
    np.testing.assert_array_equal(found.scores, np.array([s for _, _, s in rows], dtype=np.float32))


@FEW
@given(st.lists(st.tuples(FLOATS, st.sampled_from("abc")), min_size=2, max_size=30))
def test_a_table_is_standardised_and_one_hot(tmp_path_factory, rows: list[tuple[float, str]]) -> None:
    path = tmp_path_factory.mktemp("table") / "table.csv"
    path.write_text("x,c\n" + "".join(f"{x!r},{c}\n" for x, c in rows))
    table = read_table(path, "data.path")
    table = table.assign(x=as_numbers(table["x"], str(path)))
    encoded = TableEncoder(["c"]).fit(table)(table).double().numpy()
    x = np.array([x for x, _ in rows])
    kinds = sorted({c for _, c in rows})
    np.testing.assert_array_equal(encoded[:, :-1], [[c == kind for kind in kinds] for _, c in rows])
    if x.std() > 1e-6 * (1 + abs(x.mean())):
        np.testing.assert_allclose(encoded[:, -1], (x - x.mean()) / x.std(), atol=1e-4)
    else:
        assert np.isfinite(encoded).all()


@FEW
@given(st.lists(FLOATS, min_size=6, max_size=12, unique=True), st.integers(1, 4), st.integers(0, 1000))
def test_npz_round_trip_of_pixels_and_labels(tmp_path_factory, labels: list[float], size: int, seed: int) -> None:
    path = tmp_path_factory.mktemp("npz") / "images.npz"
    count = len(labels)
    pixels = np.random.default_rng(seed).integers(0, 256, (count, size, size), dtype=np.uint8)
    split = np.arange(count) % 3
    np.savez(path, images=pixels, y=np.array(labels, dtype=np.float32), split=split)
    data = NpzImages(str(path), label="y")
    data.setup()
    for code, name in enumerate(("train", "val", "test")):
        inputs, found = data.dataset(name).__getitems__(list(range(int((split == code).sum()))))  # type: ignore
        np.testing.assert_array_equal(found.numpy(), np.array(labels, dtype=np.float32)[split == code])
        np.testing.assert_allclose(inputs.numpy()[:, 0], pixels[split == code] / 127.5 - 1, atol=1e-6)
