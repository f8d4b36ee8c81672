from __future__ import annotations

import numpy as np
import pytest
import torch

from dir.posthoc import Correction

GENERATOR = np.random.default_rng(5)
PREDICTIONS = torch.from_numpy(GENERATOR.normal(3, 2, 200)).float()
LABELS = (2 * PREDICTIONS - 1 + torch.from_numpy(GENERATOR.normal(0, 0.3, 200)).float()).clamp(max=9)


def test_affine_is_least_squares() -> None:
    slope, intercept = np.polyfit(PREDICTIONS.double().numpy(), LABELS.double().numpy(), 1)
    corrected = Correction("affine").fit(PREDICTIONS, LABELS)(torch.tensor([-50.0, 0.0, 70.0]))
    np.testing.assert_allclose(corrected.numpy(), slope * np.array([-50, 0, 70]) + intercept, rtol=1e-5)


def test_isotonic_is_non_decreasing_and_constant_beyond_the_data() -> None:
    correction = Correction("isotonic").fit(PREDICTIONS, LABELS)
    grid = correction(torch.linspace(-20, 20, 500))
    assert bool((grid.diff() >= 0).all())
    assert grid[0] == grid[1]
    assert grid[-1] == grid[-2]
    before, after = (LABELS - PREDICTIONS).square().mean(), (LABELS - correction(PREDICTIONS)).square().mean()
    assert after < 0.5 * before


def test_equal_predictions_leave_the_mean() -> None:
    for kind in ("affine", "isotonic"):
        corrected = Correction(kind).fit(torch.ones(4), torch.tensor([1.0, 2.0, 3.0, 6.0]))(torch.tensor([1.0]))
        assert corrected.item() == pytest.approx(3.0)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match=r"posthoc.*got 'spline'"):
        Correction("spline")
