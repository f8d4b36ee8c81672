"""Rounded, clipped and binned copies of the target are reported as leaks; unrelated columns are not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from dir.data.problems import Problems
from dir.data.table_checks import find_leaks


@pytest.mark.parametrize(
    ("copy", "leaks"),
    [
        (lambda y: np.round(y / 5), True),
        (lambda y: np.clip(y, 10, 60), True),
        (lambda y: -np.floor(y), True),
        (lambda y: np.searchsorted(np.linspace(0, 100, 12), y), True),
        (lambda y: np.where(y > 50, 1.0, 0.0), False),  # two values
        (lambda y: np.round(y / 5) + (np.arange(len(y)) == 7) * 20, False),  # one row is out of order
        (lambda y: np.where(y > 95, y, 0.0), False),  # mostly one value
    ],
)
def test_rounded_and_clipped_copies_of_the_target_are_leaks(copy, leaks: bool) -> None:
    label = np.random.default_rng(0).uniform(0, 100, 300)
    table = pd.DataFrame({"a": copy(label), "y": label})
    problems = Problems("table.csv")
    find_leaks(table, ["a"], "y", problems)
    if leaks:
        with pytest.raises(ValueError, match=r"'a' is a monotone function of the target"):
            problems.raise_all()
    else:
        problems.raise_all()
