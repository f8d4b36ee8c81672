"""Random state from (seed, epoch, rank), so that a resumed run draws the same numbers as an uninterrupted run."""

from __future__ import annotations

import random

import numpy as np
import torch

from dir.data.shards import Shard


def seed_all(*parts: int) -> None:
    """Seed torch, NumPy and Python from several whole numbers such as (seed, epoch, rank)."""
    torch_seed, numpy_seed = np.random.SeedSequence([len(parts), *parts]).generate_state(2).tolist()
    torch.manual_seed(torch_seed)
    np.random.seed(numpy_seed)
    random.seed(torch_seed)


def seed_worker(sampler: Shard, seed: int, rank: int, worker: int) -> None:
    """Seed a worker of a loader; the sampler knows the epoch."""
    torch.set_num_threads(1)
    seed_all(seed, sampler.epoch, rank, worker)
