"""Tests of the inputs of FDS: types, shapes, empty batches, arguments."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dir.bins import LabelBins
from dir.fds import FDS

pytestmark = pytest.mark.filterwarnings("ignore:FDS. most")  # tiny data leave bins empty

B, D = 6, 5


def make(**kwargs: object) -> FDS:
    return FDS(D, LabelBins.integers(0, B - 1), **kwargs)


def data(n: int = 48, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, B, (n,), generator=generator).float()
    return torch.randn(n, D, generator=generator) * (1 + labels[:, None]) + labels[:, None], labels


def calibrating(**kwargs: object) -> FDS:
    fds = make(**kwargs)
    fds(*data())
    fds.end_epoch()
    return fds


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_the_output_has_the_dtype_of_the_features(dtype: torch.dtype) -> None:
    for fds in (make(), calibrating(), calibrating().eval()):
        features, labels = data(seed=1)
        assert fds(features.to(dtype), labels).dtype == dtype


def test_autocast_bf16_in_and_out_with_statistics_as_of_the_same_values() -> None:
    linear = nn.Linear(D, D)
    features, labels = data()
    mixed, exact = calibrating(), calibrating()
    with torch.autocast("cpu", torch.bfloat16):
        rows = linear(features)
        out = mixed(rows, labels)
        assert out.dtype == torch.bfloat16
        out.float().sum().backward()
    expected = exact(rows.detach().float(), labels)
    torch.testing.assert_close(out.detach().float(), expected, rtol=8e-3, atol=8e-3)
    mixed.end_epoch()
    exact.end_epoch()
    assert torch.equal(mixed.running_var, exact.running_var)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_labels_in_half_precision_are_a_type_error(dtype: torch.dtype) -> None:
    features, labels = data()
    with pytest.raises(TypeError, match="label"):
        make()(features, labels.to(dtype))


def test_features_that_are_not_floating_are_refused() -> None:
    with pytest.raises((TypeError, ValueError), match="features"):
        make()(torch.ones(3, D, dtype=torch.int64), torch.zeros(3))


@pytest.mark.parametrize(
    ("features", "labels"),
    [
        ((4, D + 1), (4,)),
        ((D,), ()),
        ((4, D), (5,)),
        ((4, D), (1,)),
        ((4, D), ()),
        ((4, D), (4, 2)),
        ((4, D), (1, 4)),
        ((2, D, 3, 3), (2,)),
        ((2, D, 3, 3), (2, 3, 3)),
        ((2, D, 3, 3), (2, 1, 3, 1)),
    ],
)
def test_shapes_that_do_not_fit_are_value_errors_before_anything_is_recorded(features, labels) -> None:
    fds = make()
    before = {name: value.clone() for name, value in fds.state_dict().items()}
    with pytest.raises(ValueError, match=r"(features|labels): .*got \["):
        fds(torch.zeros(features), torch.zeros(labels))
    assert all(torch.equal(value, before[name]) for name, value in fds.state_dict().items())


@pytest.mark.parametrize(("features", "labels"), [((0, D), (0,)), ((0, D), (0, 1)), ((0, D, 4, 4), (0, 1, 4, 4))])
def test_empty_batches_pass(features, labels) -> None:
    for fds in (make(), calibrating()):
        out = fds(torch.zeros(features, requires_grad=True), torch.zeros(labels))
        assert out.shape == features
        out.sum().backward()
        with pytest.raises(RuntimeError):
            fds.end_epoch()


BAD = {
    "num_features": {"num_features": 0},
    "kernel_size": {"kernel_size": 4},
    "kernel": {"kernel": "box"},
    "sigma": {"sigma": -1.0},
    "momentum": {"momentum": 1.5},
    "start_update": {"start_update": -1},
    "start_smooth": {"start_update": 2, "start_smooth": 2},
    "ratio_clip": {"ratio_clip": (10.0, 0.1)},
    "min_count": {"min_count": 0},
    "shrinkage": {"shrinkage": -1.0},
    "statistics": {"statistics": "median"},
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments_are_value_errors_naming_the_argument(name: str) -> None:
    kwargs = {"num_features": D, "bins": LabelBins.integers(0, B - 1), **BAD[name]}
    with pytest.raises(ValueError, match=name):
        FDS(**kwargs)


def test_start_smooth_must_lie_after_start_update() -> None:
    with pytest.raises(ValueError, match="start_smooth"):
        make(start_update=0, start_smooth=0)
    make(start_update=0, start_smooth=1)
    make(start_update=3, start_smooth=None)


def test_repr_names_the_settings() -> None:
    text = repr(make(kernel="laplace", momentum=0.7, ratio_clip=(0.5, 2.0)))
    for part in ("laplace", "0.7", "(0.5, 2.0)", "num_bins=6", f"num_features={D}"):
        assert part in text
