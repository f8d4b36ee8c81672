"""Small generated tables for the resamplers."""

# ruff: noqa: N806  (X is what scikit-learn calls it)

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest


def _skewed(rows=300, seed=0, columns=3):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, columns))
    return X, np.exp(X[:, 0]) + 0.01 * rng.uniform(size=rows)


@pytest.fixture
def skewed():
    """Makes columns and a label with a long tail."""
    return _skewed


@pytest.fixture
def mixed():
    """Makes a frame with columns of every kind and a series of labels."""

    def make(rows=300):
        X, y = _skewed(rows)
        frame = pd.DataFrame(
            {
                "kind": pd.Categorical(np.where(X[:, 0] > 0.5, "up", "down"), categories=["down", "up", "never"]),
                "count": (3 * X[:, 1]).round().astype(np.int16),
                "x": X[:, 2].astype(np.float32),
                "flag": X[:, 1] > 0,
                "word": np.where(X[:, 2] > 0, "a", "b"),
                "missable": pd.array(np.arange(rows) % 7, dtype="Int64"),
            },
            index=np.arange(rows) * 2 + 5,
        )
        return frame, pd.Series(y.astype(np.float32), index=frame.index, name="price")

    return make
