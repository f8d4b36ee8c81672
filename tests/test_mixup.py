from __future__ import annotations

import numpy as np
import pytest
import torch

from dir.mixup import CMixup, partners


def test_partners_follow_the_kernel_of_the_label_distance() -> None:
    torch.manual_seed(0)
    labels = torch.tensor([0.0, 1.0, 3.0])
    drawn = torch.stack([partners(labels, 1.5) for _ in range(20_000)])
    kernel = np.exp(-((labels[:, None] - labels).numpy() ** 2) / (2 * 1.5**2))
    expected = kernel / kernel.sum(1, keepdims=True)
    for row in range(3):
        share = np.bincount(drawn[:, row].numpy(), minlength=3) / 20_000
        np.testing.assert_allclose(share, expected[row], atol=0.015)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [1, 2, 7, 64, 300])
def test_partners_have_the_distribution_of_multinomial(n: int, dtype: torch.dtype) -> None:
    for seed in range(20):
        torch.manual_seed(seed)
        labels = torch.rand(n, dtype=dtype) * 50
        state = torch.get_rng_state()
        drawn, after = partners(labels, 2.0), torch.get_rng_state()
        torch.set_rng_state(state)
        kernel = torch.exp(-((labels[:, None] - labels[None, :]) ** 2) / (2 * 2.0**2))
        assert torch.equal(drawn, torch.multinomial(kernel, 1).squeeze(1))
        assert torch.equal(after, torch.get_rng_state())


def test_inputs_and_labels_are_mixed_alike() -> None:
    torch.manual_seed(1)
    labels = torch.rand(50) * 10
    inputs = (torch.stack([labels, -2 * labels], 1), labels[:, None, None].expand(50, 2, 3).contiguous())
    (first, second), mixed = CMixup(bandwidth=3.0)(inputs, labels)
    # Inputs that are linear in the label stay linear if both are mixed with the same partner and share.
    torch.testing.assert_close(first, torch.stack([mixed, -2 * mixed], 1))
    torch.testing.assert_close(second, mixed[:, None, None].expand(50, 2, 3))
    assert not torch.allclose(mixed, labels)
    assert labels.min() <= mixed.min() <= mixed.max() <= labels.max()


def test_a_narrow_kernel_does_not_mix_distinct_labels() -> None:
    labels = torch.arange(10.0)
    inputs = torch.randn(10, 3)
    mixed, mixed_labels = CMixup(bandwidth=1e-3)(inputs, labels)
    torch.testing.assert_close(mixed, inputs)
    torch.testing.assert_close(mixed_labels, labels)


@pytest.mark.parametrize("name", ["bandwidth", "alpha"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_arguments_must_be_above_zero(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"{name}.*got"):
        CMixup(**{"bandwidth": 1.0, name: value})


def test_token_ids_are_refused() -> None:
    with pytest.raises(TypeError, match=r"inputs.*int64"):
        CMixup(1.0)(torch.ones(4, 2, dtype=torch.int64), torch.rand(4))


def test_a_single_sample_is_its_own_partner() -> None:
    inputs, labels = CMixup(1.0)(torch.ones(1, 2), torch.ones(1))
    assert torch.equal(inputs, torch.ones(1, 2))
    assert torch.equal(labels, torch.ones(1))
