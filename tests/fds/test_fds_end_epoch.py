"""Tests of `end_epoch`: its requirements, the state that it writes, and the calls that it refuses."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch

from dir.bins import LabelBins
from dir.fds import FDS

pytestmark = pytest.mark.filterwarnings("ignore:FDS. most")  # tiny data leave bins empty

B, D = 6, 3


def make(**kwargs: object) -> FDS:
    return FDS(D, LabelBins.integers(0, B - 1), **kwargs)


def feed(fds: FDS, seed: int = 0, n: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, B, (n,), generator=generator).float()
    features = torch.randn(n, D, generator=generator) * (1 + labels[:, None]) + labels[:, None]
    fds(features, labels)
    return features, labels


def state(fds: FDS) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in fds.state_dict().items()}


def assert_same(fds: FDS, before: dict[str, torch.Tensor]) -> None:
    after = fds.state_dict()
    assert after.keys() == before.keys()
    for name, value in before.items():
        assert torch.equal(value, after[name]), name


def test_nothing_collected_is_a_runtime_error_and_leaves_the_state_unchanged() -> None:
    fds = make()
    before = state(fds)
    with pytest.raises(RuntimeError, match="collect"):
        fds.end_epoch()
    assert_same(fds, before)


def test_closing_twice_is_a_runtime_error_and_leaves_the_state_unchanged() -> None:
    fds = make()
    feed(fds)
    fds.end_epoch()
    before = state(fds)
    with pytest.raises(RuntimeError):
        fds.end_epoch()
    assert_same(fds, before)
    feed(fds)
    fds.end_epoch()
    assert int(fds.epoch) == 2


def test_nothing_collected_before_start_update_is_also_an_error() -> None:
    with pytest.raises(RuntimeError):
        make(start_update=3, start_smooth=5).end_epoch()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("policy", ["clamp", "exclude"])
def test_non_finite_labels_are_an_error_with_their_count(bad: float, policy: str) -> None:
    fds = FDS(D, LabelBins.integers(0, B - 1, out_of_range=policy))
    feed(fds)
    fds.end_epoch()
    labels = torch.tensor([0.0, bad, 1.0, bad, bad])
    rows = torch.randn(5, D)
    out = fds(rows, labels)
    assert torch.equal(out[[1, 3, 4]], rows[[1, 3, 4]]), "the step itself passes them"
    before = state(fds)
    with pytest.raises(ValueError, match=r"label.*\b3\b"):
        fds.end_epoch()
    assert_same(fds, before)


def test_excluded_labels_are_counted_without_an_error() -> None:
    fds = FDS(D, LabelBins.integers(0, B - 1, out_of_range="exclude"))
    feed(fds)
    fds(torch.randn(2, D), torch.tensor([-7.0, 99.0]))
    assert fds.end_epoch()["labels_excluded"] == 2


def test_bins_with_non_finite_sums_are_reported_without_an_error() -> None:
    fds = make()
    feed(fds)
    assert fds.end_epoch()["bins_nonfinite"] == 0
    features, labels = feed(fds)
    features = features.clone()
    features[labels == 2] = float("inf")
    features[labels == 4] = float("nan")
    fds(features, labels)
    assert fds.end_epoch()["bins_nonfinite"] == 2
    assert all(bool(torch.isfinite(value).all()) for value in state(fds).values())


def test_forward_depends_on_the_tables_and_not_on_the_epoch_counter() -> None:
    fds = make()
    feed(fds)
    fds.end_epoch()
    features, labels = torch.randn(8, D), torch.arange(8.0) % B
    with torch.no_grad():
        before = fds(features, labels)
        fds.epoch.fill_(0)
        assert torch.equal(fds(features, labels), before)


def test_tables_change_only_in_end_epoch() -> None:
    fds = make()
    feed(fds)
    fds.end_epoch()
    scale, shift = fds.scale.clone(), fds.shift.clone()
    for seed in range(3):
        feed(fds, seed)
    assert torch.equal(fds.scale, scale)
    assert torch.equal(fds.shift, shift)
    fds.end_epoch()
    assert not torch.equal(fds.shift, shift)


def test_state_is_written_in_place() -> None:
    """A CUDA graph, an optimiser or a DDP bucket that holds a buffer keeps seeing the same buffer."""
    fds = make()
    pointers = {name: value.data_ptr() for name, value in fds.named_buffers()}
    for seed in range(3):
        feed(fds, seed)
        fds.end_epoch()
    fds.reset()
    assert pointers == {name: value.data_ptr() for name, value in fds.named_buffers()}


def test_an_epoch_is_the_time_between_two_calls() -> None:
    once, twice = make(), make()
    features, labels = torch.randn(40, D), torch.randint(0, B, (40,)).float()
    once(features, labels)
    twice(features[:25], labels[:25])
    twice(features[25:], labels[25:])
    once.end_epoch()
    twice.end_epoch()
    torch.testing.assert_close(once.shift, twice.shift, rtol=1e-5, atol=1e-6)
    assert torch.equal(once.num_samples, twice.num_samples)


def test_sums_are_zero_after_end_epoch() -> None:
    fds, other = make(momentum=0.0), make(momentum=0.0)
    feed(fds, 0)
    fds.end_epoch()
    feed(fds, 1)
    feed(other, 1)
    fds.end_epoch()
    other.end_epoch()
    torch.testing.assert_close(fds.running_mean, other.running_mean)
    torch.testing.assert_close(fds.running_var, other.running_var)


def test_it_works_in_eval_mode_and_under_no_grad() -> None:
    one, other = make(), make()
    feed(one)
    feed(other)
    one.end_epoch()
    other.eval()
    with torch.no_grad():
        other.end_epoch()
    assert torch.equal(one.shift, other.shift)
    assert not one.shift.requires_grad


def test_diagnostics_are_floats_with_the_documented_values() -> None:
    fds = make()
    fds(torch.randn(9, D), torch.tensor([0.0, 0, 0, 1, 1, 1, 2, 2, 3]))
    diagnostics = fds.end_epoch()
    assert all(isinstance(value, (int, float)) for value in diagnostics.values())
    assert all(value == value for value in diagnostics.values()), "no NaN"
    assert diagnostics["bins_seen"] == 4
    assert diagnostics["bins_empty"] == 2
    assert diagnostics["bins_trusted"] == 3


def test_mostly_empty_bins_are_warned_about_once() -> None:
    fds = FDS(D, LabelBins.integers(0, 50))
    features, labels = torch.randn(6, D), torch.tensor([0.0, 0, 1, 1, 2, 2])
    fds(features, labels)
    with pytest.warns(UserWarning, match="empty") as caught:
        fds.end_epoch()
    assert caught[0].filename == __file__, "the warning names the caller"
    fds(features, labels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fds.end_epoch()


def test_reset_starts_over() -> None:
    fds = make()
    fresh = state(fds)
    feed(fds)
    fds.end_epoch()
    feed(fds)
    fds.reset()
    assert_same(fds, fresh)
    with pytest.raises(RuntimeError):
        fds.end_epoch()


def test_collect_equals_a_training_pass_and_replaces_the_sums() -> None:
    torch.manual_seed(0)
    encoder = torch.nn.Sequential(torch.nn.Linear(4, D), torch.nn.BatchNorm1d(D), torch.nn.Dropout(0.5))
    encoder[1].eval()
    modes = [module.training for module in encoder.modules()]
    norm = copy.deepcopy(encoder[1].state_dict())
    inputs, labels = torch.randn(50, 4), torch.randint(0, B, (50,)).float()
    fds, expected = make(), make()
    feed(fds, seed=9)
    fds.collect(zip(inputs.split(8), labels.split(8), strict=True), encoder)
    assert [module.training for module in encoder.modules()] == modes
    assert all(torch.equal(value, norm[name]) for name, value in encoder[1].state_dict().items())
    fds.end_epoch()
    expected(copy.deepcopy(encoder).eval()(inputs).detach(), labels)
    expected.end_epoch()
    torch.testing.assert_close(fds.running_mean, expected.running_mean)
    torch.testing.assert_close(fds.running_var, expected.running_var)


def test_collect_takes_inputs_of_several_tensors_and_plain_functions() -> None:
    fds, expected = make(), make()
    u, v, labels = torch.randn(20, D), torch.randn(20, D), torch.randint(0, B, (20,)).float()
    fds.collect([((u[:9], v[:9]), labels[:9]), ((u[9:], v[9:]), labels[9:])], lambda pair: pair[0] * pair[1])
    expected(u * v, labels)
    assert fds.end_epoch() == pytest.approx(expected.end_epoch())
    torch.testing.assert_close(fds.running_mean, expected.running_mean)


def test_end_epoch_refuses_a_collect_of_an_empty_loader() -> None:
    fds = make()
    feed(fds)
    fds.collect([], torch.nn.Identity())
    with pytest.raises(RuntimeError):
        fds.end_epoch()


def test_modes_are_restored_when_collect_fails() -> None:
    encoder = torch.nn.Sequential(torch.nn.Linear(4, D), torch.nn.Dropout())
    with pytest.raises(ValueError, match="labels"):
        make().collect([(torch.randn(5, 4), torch.zeros(3))], encoder)
    assert encoder.training
    assert encoder[1].training


def test_an_epoch_of_excluded_labels_alone_is_refused() -> None:
    fds = FDS(D, LabelBins.integers(0, 5, out_of_range="exclude"))
    fds(torch.randn(4, D), torch.full((4,), 9.0))
    with pytest.raises(RuntimeError, match=r"FDS\.end_epoch.*nothing"):
        fds.end_epoch()
    assert fds.epoch.item() == 0


def test_an_epoch_with_non_finite_labels_can_be_discarded() -> None:
    fds = FDS(D, LabelBins.integers(0, 5))
    fds(torch.randn(4, D), torch.tensor([1.0, float("nan"), 2.0, 3.0]))
    with pytest.raises(ValueError, match=r"fds\.sums\.clear\(\)"):
        fds.end_epoch()
    fds.sums.clear()
    fds(torch.randn(4, D), torch.tensor([1.0, 1.0, 2.0, 2.0]))
    assert fds.end_epoch()["bins_seen"] == 2
