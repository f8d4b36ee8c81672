"""LDS: fit and weights of a whole training set."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from benchmarks.naive import lds_weights
from dir.bins import LabelBins
from dir.lds import LDS

_NAIVE_AT_MOST = 1_000_000


@pytest.mark.parametrize("n", [191_509, 1_000_000, 10_000_000])
def bench_lds(compare: Callable[..., None], n: int) -> None:
    # Ages with fractions; [k, k + 1) is the bin that int() gives the naive loop.
    labels = (35 + 15 * torch.randn(n)).clamp(0, 120)
    lds = LDS(LabelBins.uniform(0, 121, 121), reweight="sqrt_inverse")
    part = min(n, _NAIVE_AT_MOST)  # the loop is exactly linear in n
    array = labels[:part].numpy()
    compare(
        f"lds-{n}",
        lambda: lds.fit(labels)(labels),
        naive=lambda: lds_weights(array, 121),
        times={"naive": n / part},
        note="" if part == n else f"naive timed on {part:,} labels, times {n // part}",
        budget=12.0,
    )
