"""Rows of each process in distributed training and evaluation, without duplicates, in equally many batches."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from torch.utils.data import Dataset
from torch.utils.data.distributed import DistributedSampler

from dir._checks import message


class Shard(DistributedSampler[Any]):
    """Rows of one process: those of ``DistributedSampler`` without the duplicates that it pads with.

    Args:
        data: a dataset with a length.
        rank, world_size: number of this process, and number of processes.
        size: number of rows, at most the share of the process; None for the whole share.
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
    """Return how many of ``total`` rows a process trains on in an epoch; all processes have equally many batches.

    Gradients are averaged at every step, so that processes wait for each other. If the shares differ, the last batch
    of some processes is smaller. Batch norm cannot train on a batch of one: if a process would have such a batch, all
    processes leave out their last batch. These are fewer than two rows per process, and other rows in each epoch.

    Raises:
        ValueError: if there are fewer rows than processes.

    Example:
        >>> [training_rows(13, 4, rank, 2) for rank in range(2)]
        [7, 6]
    """
    check_shares(total, world_size)
    fewest, most = total // world_size, -(-total // world_size)
    own = len(range(rank, total, world_size))
    # With batches of one row, the batches that only some processes have are left out.
    if any(size % batch_size == 1 % batch_size for size in (fewest, most)):
        return fewest // batch_size * batch_size or own
    return own


def evaluation_batch_size(total: int, batch_size: int, world_size: int) -> int:
    """Return the smallest batch size >= ``batch_size`` with which all processes have equally many batches.

    Evaluation must see each row once, and DistributedDataParallel synchronises buffers at every step.

    Raises:
        ValueError: if there are fewer rows than processes.

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
    """Raise ValueError if a process would have no row."""
    if total < world_size:
        raise ValueError(message("data", f"expected at least one row for each of {world_size} processes", total))
