"""Which rows of a split each of several processes takes: none of them twice, and as many batches everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from torch.utils.data import Dataset
from torch.utils.data.distributed import DistributedSampler


class Shard(DistributedSampler[Any]):
    """The rows of one process: those of ``DistributedSampler`` without the duplicates that it pads with.

    Args:
        data: a dataset with a length.
        rank, world_size: which process of how many.
        size: how many rows, at most the process's share; None for all of it.
        shuffle, seed: as in ``DistributedSampler``.

    Example:
        >>> [list(Shard(range(5), rank, 2, shuffle=False)) for rank in range(2)]
        [[0, 2, 4], [1, 3]]
    """

    def __init__(
        self,
        data: Dataset[Any],
        rank: int,
        world_size: int,
        size: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(data, num_replicas=world_size, rank=rank, shuffle=shuffle, seed=seed)
        own = len(range(rank, len(data), world_size))  # type: ignore[arg-type]
        self.size = own if size is None else min(size, own)

    def __iter__(self) -> Iterator[Any]:
        return islice(super().__iter__(), self.size)

    def __len__(self) -> int:
        return self.size


def training_rows(total: int, batch_size: int, rank: int, world_size: int) -> int:
    """How many of ``total`` rows a process trains on in an epoch, so that all have the same number of batches.

    Gradients are averaged at every step, so that processes wait for one another. Where the shares differ, the last
    batch is smaller on some. Batch norm cannot train on a batch of one: where a process would have one, all leave
    their last batch out of the epoch (fewer than two rows for each process; the order is another in each epoch).

    Raises:
        ValueError: fewer rows than processes.

    Example:
        >>> [training_rows(13, 4, rank, 2) for rank in range(2)]
        [7, 6]
    """
    check_shares(total, world_size)
    fewest, most = total // world_size, -(-total // world_size)
    own = len(range(rank, total, world_size))
    # In batches of one, those that only some have are left out.
    if any(size % batch_size == 1 % batch_size for size in (fewest, most)):
        return fewest // batch_size * batch_size or own
    return own


def evaluation_batch_size(total: int, batch_size: int, world_size: int) -> int:
    """The batch size, or one a little above it, with which all processes have the same number of batches.

    Evaluation must see every row once, and DistributedDataParallel synchronises buffers at every step of it.

    Raises:
        ValueError: fewer rows than processes.

    Example:
        >>> evaluation_batch_size(10, 4, 2), evaluation_batch_size(9, 4, 2)  # 5 and 4 rows: batches of 4 would differ
        (4, 5)
    """
    check_shares(total, world_size)
    if total % world_size:
        while -(-total // world_size) % batch_size == 1 % batch_size:
            batch_size += 1
    return batch_size


def check_shares(total: int, world_size: int) -> None:
    """Raises ValueError if a process would have no row."""
    if total < world_size:
        raise ValueError(f"expected at least one row for each of {world_size} processes, got {total}")
