"""The built-in text benchmark: generated sentence pairs with STS-B-DIR's histogram of scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from dir._checks import check_integer
from dir.data.arrays import ArrayDataset
from dir.data.base import SPLITS, RegressionData
from dir.data.identity import text_ids
from dir.data.synthetic.histograms import STSB_DIR_SCORES, shuffled_values
from dir.data.synthetic.sentences import vocabulary, write_pair

_BIN_WIDTH = 0.1


def _encode(sentences: list[str], words: dict[str, int]) -> Tensor:
    """Return the word numbers, int64 [N, L], padded with 0 on the right to the longest sentence."""
    rows = [[words[word] for word in sentence.split()] for sentence in sentences]
    longest = max(map(len, rows))
    return torch.tensor([row + [0] * (longest - len(row)) for row in rows])


class STSSyntheticData(RegressionData):
    """Pairs of generated sentences and their similarity, 0 to 5: 5,249 / 1,000 / 1,000 pairs as in STS-B-DIR.

    Scores are the centres of STS-B-DIR's 50 bins of 0.1, with the counts of STS-B-DIR. The pairs do not depend on the
    machine or the seed, and are generated in about a second.

    Args:
        limit: largest number of pairs in each split, for tests and trials; None for all. These are the first pairs
            of the split's fixed shuffled order.
        batch_size, eval_batch_size, num_workers, seed: see :class:`RegressionData`.

    Shape: a batch is ((int64 [N, L_a], int64 [N, L_b]), float32 [N]); 0 is padding.

    Raises:
        ValueError: for a limit below 2.
    """

    def __init__(
        self,
        limit: int | None = None,
        batch_size: int = 128,
        eval_batch_size: int = 512,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, num_workers, seed)
        if limit is not None:
            check_integer("data.limit", limit, minimum=2, advice="null takes all pairs.")
        self.limit = limit
        self.words = vocabulary()

    def build(self) -> dict[str, Dataset[Any]]:
        pairs: list[tuple[str, str]] = []
        scores, names = [], []
        for number, split in enumerate(SPLITS):
            bins = shuffled_values(STSB_DIR_SCORES[split], seed=100 + number)[: self.limit]
            own = (bins + 0.5) * _BIN_WIDTH
            rng = np.random.default_rng([2021, number])
            pairs += [write_pair(score, rng)[:2] for score in own.tolist()]
            scores.append(own.float())
            names += [split] * len(own)
        labels = torch.cat(scores)
        placed = self.place_rows(lambda: text_ids(pairs, labels.numpy()), lambda: np.array(names))
        splits: dict[str, Dataset[Any]] = {}
        for name, rows in placed.items():
            sides = zip(*(pairs[row] for row in rows), strict=True)
            inputs = tuple(_encode(list(side), self.words) for side in sides)
            splits[name] = ArrayDataset(inputs, labels[torch.from_numpy(rows)])
        return splits

    def encoding(self) -> dict[str, Any]:
        return {"kind": "pairs", "form": "words", "split": "spaces", "unknown": None, "words": self.words}

    def settings(self) -> dict[str, Any]:
        return {"limit": self.limit}

    def encoder_args(self) -> dict[str, Any]:
        return {"vocab_size": len(self.words) + 1}
