"""Tests that FDS leaves training unchanged where it must."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from dir.bins import LabelBins
from dir.fds import FDS
from dir.fds.calibration import calibrate
from dir.lds import LDS

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


def encoder() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(3, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, D), nn.ReLU()
    )


def train_two_epochs(fds: FDS | None) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    model, head = encoder(), nn.Linear(D, 1)
    optimizer = torch.optim.Adam([*model.parameters(), *head.parameters()], lr=1e-2)
    inputs = torch.randn(96, 3)
    labels = (inputs.sum(1) + 2).clamp(0, B - 1)
    for _ in range(2):
        for batch in torch.randperm(96).split(20):
            features = model(inputs[batch])
            if fds is not None:
                features = fds(features, labels[batch])
            loss = (head(features).squeeze(1) - labels[batch]).abs().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if fds is not None:
            fds.end_epoch()
    return {**model.state_dict(prefix="model."), **head.state_dict(prefix="head.")}


@pytest.mark.parametrize("start_smooth", [None, 7])
def test_collecting_alone_leaves_training_bit_identical(start_smooth: int | None) -> None:
    without, with_fds = train_two_epochs(None), train_two_epochs(make(start_smooth=start_smooth))
    for name, value in without.items():
        assert torch.equal(value, with_fds[name]), name


def test_calibration_does_change_training() -> None:
    without, with_fds = train_two_epochs(None), train_two_epochs(make())
    assert any(not torch.equal(value, with_fds[name]) for name, value in without.items())


def test_the_input_is_not_mutated_and_the_output_is_a_new_tensor() -> None:
    for fds in (make(), make(start_smooth=None), calibrating(), calibrating().eval()):
        features, labels = data(seed=1)
        kept, kept_labels = features.clone(), labels.clone()
        for given in (labels, None):
            out = fds(features, given)
            out.add_(1.0)
            assert torch.equal(features, kept)
            assert torch.equal(labels, kept_labels)


@pytest.mark.parametrize(
    "layer", [nn.ReLU(), nn.ReLU(inplace=True), nn.Sigmoid(), nn.Tanh(), nn.BatchNorm1d(D), nn.Dropout(0.5)]
)
def test_backward_works_after_layers_that_save_their_output(layer: nn.Module) -> None:
    fds = calibrating()
    linear = nn.Linear(3, D)
    labels = torch.arange(12.0) % B
    fds(layer(linear(torch.randn(12, 3))), labels).square().sum().backward()
    assert bool(torch.isfinite(linear.weight.grad).all())
    assert bool((linear.weight.grad != 0).any())


def test_in_place_layers_after_fds_work() -> None:
    fds = calibrating()
    features, labels = data(seed=1)
    features.requires_grad_()
    torch.relu_(fds(features, labels)).sum().backward()
    assert features.grad is not None


def test_eval_mode_and_missing_labels_copy_features_and_collect_nothing() -> None:
    fds = calibrating()
    features, labels = data(seed=1)
    fds(features)
    fds.eval()
    assert torch.equal(fds(features), features)
    assert torch.equal(fds(features, labels), features)
    fds.train()
    assert torch.equal(fds(features), features)
    with pytest.raises(RuntimeError):
        fds.end_epoch()


def test_train_mode_under_no_grad_calibrates_and_collects_nothing() -> None:
    fds = calibrating()
    features, labels = data(seed=1)
    for guard in (torch.no_grad, torch.inference_mode):
        with guard():
            assert not torch.equal(fds(features, labels), features)
    with pytest.raises(RuntimeError):
        fds.end_epoch()


def test_raw_features_are_collected_and_not_calibrated_features() -> None:
    fds = calibrating(momentum=0.0)
    features, labels = data(seed=1)
    fds(features, labels)
    fds.end_epoch()
    for label in range(B):
        torch.testing.assert_close(
            fds.running_mean[label], features[labels == label].double().mean(0), check_dtype=False
        )


def test_collected_features_are_detached() -> None:
    fds = make()
    weight = torch.ones(D, requires_grad=True)
    features, labels = data()
    fds(features * weight, labels)
    fds.end_epoch()
    assert not any(value.requires_grad for value in fds.state_dict(keep_vars=True).values())
    fds(features * weight, labels).sum().backward()
    assert weight.grad is not None


def test_gradcheck_of_the_calibration() -> None:
    torch.manual_seed(0)
    features = torch.randn(7, D, dtype=torch.float64, requires_grad=True)
    index = torch.tensor([0, 1, 1, 2, 3, 3, 0])
    scale, shift = torch.rand(4, D, dtype=torch.float64) + 0.5, torch.randn(4, D, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda z: calibrate(z, index, scale, shift), features)
    assert torch.autograd.gradgradcheck(lambda z: calibrate(z, index, scale, shift), features)


def test_gradcheck_of_the_module_flat_and_dense() -> None:
    fds = calibrating().double()
    flat = torch.randn(6, D, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: fds(z, torch.arange(6.0)), flat)
    dense = torch.randn(2, D, 2, 3, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, B, (2, 1, 2, 3)).float()
    assert torch.autograd.gradcheck(lambda z: fds(z, labels), dense)


def test_the_step_compiles_to_one_graph() -> None:
    fds, eager = calibrating(), calibrating()
    features, labels = data(seed=1)
    step = torch.compile(fds, fullgraph=True, backend="eager")
    out = step(features.clone().requires_grad_(), labels)
    torch.testing.assert_close(out.detach(), eager(features, labels))
    fds.end_epoch()
    eager.end_epoch()
    torch.testing.assert_close(fds.running_mean, eager.running_mean)


def test_gradient_accumulation_counts_each_sample_once() -> None:
    whole, parts = copy.deepcopy(calibrating()), calibrating()
    features, labels = data(seed=1)
    whole(features, labels)
    for rows, part in zip(features.split(7), labels.split(7), strict=True):
        parts(rows.requires_grad_(), part).sum().backward()
    whole.end_epoch()
    parts.end_epoch()
    assert torch.equal(whole.num_samples, parts.num_samples)


def test_the_step_never_synchronises() -> None:
    """Check on the meta device, where a host synchronisation or a data-dependent branch raises."""
    for policy in ("clamp", "exclude"):
        bins = LabelBins.uniform(0.0, 5.0, 10, out_of_range=policy)
        lds = LDS(bins).fit(torch.rand(50) * 5).to("meta")
        fds = FDS(D, bins).to("meta")
        labels = torch.empty(7, device="meta")
        out = fds(torch.empty(7, D, device="meta", requires_grad=True), labels)
        (out.sum(1) * lds(labels)).sum().backward()
        assert out.shape == (7, D)
