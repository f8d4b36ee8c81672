"""Values and gradients of every loss against the reference program's numbers (float64, inputs synthetic)."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from dir.losses import focal_r, weighted_huber, weighted_l1, weighted_mse

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "losses.npz"
CASES = sorted(key.removesuffix("/value") for key in np.load(GOLDEN) if key.endswith("/value"))


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    with np.load(GOLDEN, allow_pickle=False) as file:
        return dict(file)


def loss_of(case: str) -> Callable[..., Tensor]:
    """The loss that a reference key such as agedb/focal_mse_tanh_beta0.2_gamma1/w stands for."""
    name = case.split("/")[1]
    if name in ("mse", "l1"):
        return {"mse": weighted_mse, "l1": weighted_l1}[name]
    if name.startswith("huber"):
        return partial(weighted_huber, beta=float(name.removeprefix("huber_beta")))
    match = re.fullmatch(r"focal_(mse|l1)_(sigmoid|tanh)_beta([\d.]+)_gamma(\d+)", name)
    assert match is not None, name
    base, activation, beta, gamma = match.groups()
    return partial(focal_r, base=base, activation=activation, beta=float(beta), gamma=float(gamma))


def test_every_family_is_among_the_cases() -> None:
    assert len(CASES) == 80
    assert {case.split("/")[1].split("_")[0] for case in CASES} == {"mse", "l1", "huber", "focal"}


@pytest.mark.parametrize("case", CASES)
def test_value_and_gradient(case: str, arrays: dict[str, np.ndarray]) -> None:
    data, _, weighted = case.split("/")
    pred = torch.from_numpy(arrays[f"{data}/inputs"]).requires_grad_()
    target = torch.from_numpy(arrays[f"{data}/targets"])
    weight = torch.from_numpy(arrays[f"{data}/weights"]) if weighted == "w" else None
    value = loss_of(case)(pred, target, weight)
    (grad,) = torch.autograd.grad(value, pred)
    np.testing.assert_allclose(value.item(), arrays[f"{case}/value"], rtol=1e-9, atol=0)
    np.testing.assert_allclose(grad.numpy(), arrays[f"{case}/grad"], rtol=1e-9, atol=1e-16)
