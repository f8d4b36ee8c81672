"""Data for the tests of searches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest


def write_doses(path: Path, poison: bool = False) -> Path:
    """Write 320 rows with their split in a column. With ``poison`` the test rows hold nonsense."""
    random = np.random.default_rng(0)
    x = random.normal(size=(320, 2))
    y = np.round(np.exp(1.2 * x[:, 0]) * 4 + 0.5 * random.normal(size=320), 3)
    part = np.repeat(["train", "val", "test"], [200, 60, 60])
    if poison:
        y[part == "test"] = -1e6 * np.arange(1, 61)
        x[part == "test"] = 1e5
    pd.DataFrame({"u": x[:, 0], "v": x[:, 1], "part": part, "y": y}).to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def write_table() -> Callable[..., Path]:
    """Return :func:`write_doses`."""
    return write_doses
