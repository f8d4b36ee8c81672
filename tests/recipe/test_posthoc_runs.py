"""Runs with a post-hoc correction."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from dir.recipe.run_folder import RunFolder
from dir.recipe.train import train


def test_run_corrects_the_predictions_that_it_reports(tiny: Callable[..., DictConfig], tmp_path: Path) -> None:
    saved = {}
    for method in ("vanilla", "affine"):
        folder = RunFolder(tmp_path / method)
        train(tiny(f"method={method}", "trainer.max_epochs=2", "logger=none"), folder, {})
        with np.load(folder.predictions, allow_pickle=False) as arrays:
            saved[method] = arrays["prediction"].astype(np.float64)
    slope, intercept = np.polyfit(saved["vanilla"], saved["affine"], 1)
    np.testing.assert_allclose(saved["affine"], slope * saved["vanilla"] + intercept, rtol=1e-4)
    assert abs(slope - 1) > 1e-3
