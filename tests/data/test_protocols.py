from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dir.bins import LabelBins
from dir.data.protocols import Protocol
from dir.data.synthetic.age_synthetic import AgeSyntheticData

BINS = LabelBins.integers(0, 100)
LABELS = torch.from_numpy(np.random.default_rng(2).normal(45, 18, 4000).clip(0, 100).round()).float()
TWO_ENDS = torch.cat([LABELS, torch.tensor([0.0, 100.0])])


def test_gaps_are_closed_and_may_be_open_ended() -> None:
    kept = LABELS[Protocol(gaps=[[20, 30], [70, math.inf]]).train_rows(LABELS, BINS)]
    expected = LABELS[(LABELS < 70) & ((LABELS < 20) | (LABELS > 30))]
    assert torch.equal(kept, expected)


@pytest.mark.parametrize(
    ("fractions", "low", "high"), [([[0.47, 0.53]], 47, 53), ([[0.36, 0.64]], 36, 64)], ids=["blind", "bimodal"]
)
def test_fractions_are_of_the_training_range(fractions: list[list[float]], low: int, high: int) -> None:
    kept = TWO_ENDS[Protocol(fractions=fractions).train_rows(TWO_ENDS, BINS)]
    assert torch.equal(kept, TWO_ENDS[(low > TWO_ENDS) | (high < TWO_ENDS)])


def test_tails_end_beyond_the_training_range() -> None:
    protocol = Protocol(fractions=[[0.0, 0.2], [0.8, 1.0]])
    val = torch.tensor([-50.0, 10.0, 21.0, 79.0, 90.0, 400.0])
    assert protocol.keep(val, TWO_ENDS).tolist() == [False, False, True, True, False, False]


def test_the_cap_balances_and_the_seed_draws() -> None:
    rows = Protocol(cap=20, seed=1).train_rows(LABELS, BINS)
    counts, before = BINS.counts(LABELS[rows]), BINS.counts(LABELS)
    assert torch.equal(counts, before.clamp(max=20))
    assert bool((rows.diff() > 0).all())
    assert torch.equal(rows, Protocol(cap=20, seed=1).train_rows(LABELS, BINS))
    assert not torch.equal(rows, Protocol(cap=20, seed=2).train_rows(LABELS, BINS))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "expected gaps, fractions or a cap"),
        ({"gaps": [[3, 1]]}, "protocol.gaps: expected intervals"),
        ({"gaps": [[1, 2, 3]]}, "protocol.gaps"),
        ({"fractions": [["a", "b"]]}, "protocol.fractions"),
        ({"gaps": [[math.nan, 2]]}, "protocol.gaps"),
        ({"cap": 0}, "protocol.cap"),
    ],
)
def test_what_is_no_protocol_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Protocol(**arguments)


def test_two_views_are_two_augmentations_of_the_same_samples() -> None:
    data = AgeSyntheticData(limit=12, batch_size=6)
    data.setup()
    data.set_views(2)
    torch.manual_seed(0)
    images, labels = next(iter(data.train_dataloader()))
    assert len(images) == len(labels) == 12
    assert torch.equal(labels[:6], labels[6:])
    assert not torch.equal(images[:6], images[6:])
    data.set_views(1)
    assert len(next(iter(data.train_dataloader()))[1]) == 6
