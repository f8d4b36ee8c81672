"""Labels as users have them: arrays, Series, lists, several targets, and maps with holes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dir import FDS, LDS, DenseWeight, LabelBins, ProbabilisticFDS

VALUES = [0.0, 1.0, 1.0, 2.0, 2.0, 2.0, 7.0, 7.5]
TENSOR = torch.tensor(VALUES, dtype=torch.float64)
BINS = LabelBins.integers(0, 9)


def series(dtype: str) -> Any:
    pandas = pytest.importorskip("pandas", reason="needs the extra 'recipes'")
    whole = dtype.lower().startswith(("int", "uint"))
    values = [int(value) for value in VALUES] if whole else VALUES
    return pandas.Series(values, dtype=dtype, index=range(100, 100 + len(VALUES)))


FORMS: dict[str, Callable[[], Any]] = {
    "list": lambda: VALUES,
    "float32 array": lambda: np.array(VALUES, dtype=np.float32),
    "float64 array": lambda: np.array(VALUES),
    "column": lambda: np.array(VALUES)[:, None],
    "reversed twice": lambda: np.array(VALUES[::-1])[::-1],
    "big endian": lambda: np.array(VALUES, dtype=">f8"),
    "float64 series": lambda: series("float64"),
    "nullable Float64 series": lambda: series("Float64"),
    "nullable Int64 series": lambda: series("Int64"),
    "int32 series": lambda: series("int32"),
    "uint16 series": lambda: series("uint16"),
    "nullable UInt8 series": lambda: series("UInt8"),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_what_the_tensor_gives_as_an_array(form: str) -> None:
    labels = FORMS[form]()
    expected = torch.from_numpy(np.asarray(labels, dtype=np.float64).copy())
    for make in (lambda: LDS(BINS), lambda: DenseWeight(bandwidth=0.5)):
        weights = make().fit(labels)(labels)
        assert isinstance(weights, np.ndarray)
        wanted = make().fit(expected)(expected).numpy()
        np.testing.assert_allclose(weights, wanted, rtol=1e-6)
        assert weights.shape == np.shape(labels)
    for found, want in (
        (BINS(labels), BINS(expected)),
        (BINS.counts(labels), BINS.counts(expected)),
    ):
        assert isinstance(found, np.ndarray)
        np.testing.assert_array_equal(found, want.numpy())
    assert LabelBins.quantiles(labels, 3).edges.tolist() == LabelBins.quantiles(expected, 3).edges.tolist()


def test_weights_keep_the_dtype_of_floating_labels() -> None:
    lds = LDS(BINS).fit(VALUES)
    assert lds(np.array(VALUES)).dtype == np.float64
    assert lds(np.array(VALUES, np.float32)).dtype == np.float32
    assert lds(np.array([1, 2])).dtype == np.float32
    assert isinstance(lds(TENSOR), Tensor)


def test_samplers_take_arrays() -> None:
    sampler = LDS(BINS).fit(VALUES).sampler(np.array(VALUES))
    expected = LDS(BINS).fit(TENSOR)(TENSOR)
    torch.testing.assert_close(torch.as_tensor(sampler.weights), expected)


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "text": (lambda: np.array(["a", "b"]), r"labels.*got '<U1'"),
    "objects": (lambda: np.array([1, None], dtype=object), r"labels.*got 'object'"),
    "dates": (lambda: np.array(["2020-01-01"], dtype="datetime64[D]"), r"labels.*datetime64"),
    "bool": (lambda: np.array([True, False]), r"labels.*bool"),
    "half": (lambda: np.array([1.0], dtype=np.float16), r"labels.*float16"),
    "complex": (lambda: np.array([1j]), r"labels.*complex"),
    "text series": (lambda: __import__("pandas").Series(["a", "b"], dtype="string"), r"labels.*got 'str"),
    "nullable bool series": (
        lambda: __import__("pandas").Series([True, None], dtype="boolean"),
        r"labels.*'boolean'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_labels_that_are_no_numbers_are_type_errors(case: str) -> None:
    if "series" in case:
        pytest.importorskip("pandas", reason="needs the extra 'recipes'")
    make, match = REFUSED[case]
    for call in (BINS, BINS.counts, LDS(BINS).fit, DenseWeight().fit, LDS(BINS).fit(TENSOR)):
        with pytest.raises(TypeError, match=match):
            call(make())


def test_missing_values_of_a_nullable_series_are_refused_by_row_or_masked() -> None:
    pandas = pytest.importorskip("pandas", reason="needs the extra 'recipes'")
    labels = pandas.Series([1, None, 3], dtype="Int64")
    for fit in (LDS(BINS).fit, DenseWeight().fit):
        with pytest.raises(ValueError, match=r"labels.*nan in row 1.*mask="):
            fit(labels)
    lds = LDS(BINS, kernel=None).fit(labels, mask=labels.notna().to_numpy())
    assert lds.counts.tolist() == [0, 1, 0, 1, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    "make", [lambda: torch.rand(6, 2), lambda: np.ones((6, 3)), lambda: [[1.0, 2.0], [3.0, 4.0]]]
)
def test_several_targets_are_refused_with_advice(make: Callable[[], Any]) -> None:
    calls = (BINS, BINS.counts, LDS(BINS).fit, LDS(BINS).fit(TENSOR), DenseWeight().fit, DenseWeight().fit(TENSOR))
    for call in (*calls, lambda labels: LabelBins.quantiles(labels, 2)):
        with pytest.raises(ValueError, match=r"labels.*got \[\d, \d\].*per target"):
            call(make())
    if isinstance(make(), Tensor):
        with pytest.raises(ValueError, match=r"labels.*got \[6, 2\].*per target"):
            FDS(2, BINS)(torch.randn(6, 2), make())


def holes(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Return dense features [2, 3, 4, 5], labels [2, 1, 4, 5] with NaN, and the mask of finite labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 4, (2, 1, 4, 5), generator=generator).float()
    mask = torch.rand(labels.shape, generator=generator) < 0.7
    return torch.randn(2, 3, 4, 5, generator=generator), labels.where(mask, torch.nan), mask


@pytest.mark.parametrize("make", [lambda: LDS(BINS), lambda: DenseWeight(bandwidth=0.5), lambda: DenseWeight(BINS)])
def test_weights_of_maps_with_holes(make: Callable[[], Any]) -> None:
    _, labels, mask = holes()
    with pytest.raises(ValueError, match=r"labels.*nan.*mask="):
        make().fit(labels)
    weigher = make().fit(labels, mask=mask)
    expected = make().fit(labels[mask])
    assert torch.equal(weigher.weights, expected.weights)
    weights = weigher(labels, mask=mask)
    assert torch.equal(weights[mask], expected(labels[mask]))
    assert bool((weights[~mask] == 0).all())
    assert np.array_equal(weigher(labels.numpy(), mask=mask.numpy()), weights.numpy())


def test_counts_of_maps_with_holes() -> None:
    _, labels, mask = holes()
    expected = np.bincount(labels[mask].long().numpy(), minlength=10)
    assert BINS.counts(labels, mask=mask).tolist() == expected.tolist()
    chunks = LDS(BINS).partial_fit(labels[:1], mask[:1]).partial_fit(labels[1:], mask[1:])
    assert chunks.counts.tolist() == expected.tolist()


@pytest.mark.parametrize("layer", [FDS, ProbabilisticFDS])
def test_statistics_of_maps_with_holes(layer: type[FDS]) -> None:
    fds, flat = layer(3, BINS), layer(3, BINS)
    features, labels, mask = holes()
    rows, row_labels = features.movedim(1, -1)[mask.squeeze(1)], labels[mask]
    fds(features, labels, mask=mask)
    flat(rows, row_labels)
    fds.end_epoch()
    flat.end_epoch()
    for name in ("num_samples", "running_mean", "running_var", "scale", "shift"):
        assert torch.equal(getattr(fds, name), getattr(flat, name)), name
    hole = ~mask.expand_as(features)
    calibrated = fds(features, labels, mask=mask)
    assert torch.equal(calibrated[hole], features[hole])
    assert not torch.equal(calibrated, features)


def test_holes_without_a_mask_are_an_error_at_the_end_of_the_epoch() -> None:
    features, labels, mask = holes()
    fds = FDS(3, BINS)
    fds(features, labels)
    with pytest.raises(ValueError, match=rf"labels.*{int((~mask).sum())} labels.*mask="):
        fds.end_epoch()


def test_masks_are_checked() -> None:
    features, labels, mask = holes()
    for call in (
        lambda m: LDS(BINS).fit(labels, mask=m),
        lambda m: DenseWeight().fit(labels, mask=m),
        lambda m: BINS.counts(labels, mask=m),
        lambda m: FDS(3, BINS)(features, labels, mask=m),
    ):
        with pytest.raises(TypeError, match=r"mask.*float32"):
            call(mask.float())
        with pytest.raises(ValueError, match=r"mask.*got \[2, 4, 5\]"):
            call(mask.squeeze(1))


def test_a_mask_without_true_values_leaves_nothing_to_fit() -> None:
    _, labels, mask = holes()
    for module in (LDS(BINS), DenseWeight()):
        with pytest.raises(ValueError, match=r"labels.*none"):
            module.fit(labels, mask=torch.zeros_like(mask))
        assert not module.fitted
