"""Shards of several processes: every row once, as many batches everywhere, and one process as it was."""

from __future__ import annotations

from itertools import chain, product
from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import BatchSampler, DistributedSampler

from dir.data.base import ArrayDataset, RegressionData
from dir.data.shards import Shard, evaluation_batch_size, training_rows


class Numbers(RegressionData):
    def __init__(self, sizes: tuple[int, int, int], batch_size: int = 4, eval_batch_size: int = 4) -> None:
        super().__init__(batch_size=batch_size, eval_batch_size=eval_batch_size, seed=3)
        self.sizes = sizes

    def build(self) -> dict[str, ArrayDataset]:
        names = ("train", "val", "test")
        return {
            name: ArrayDataset(torch.arange(n), torch.arange(n).float())
            for name, n in zip(names, self.sizes, strict=True)
        }


def on_rank(data: Numbers, rank: int, world_size: int) -> Numbers:
    """As the trainer of one of several processes sets it up."""
    loop = SimpleNamespace(epoch_progress=SimpleNamespace(current=SimpleNamespace(processed=2)))
    data.trainer = SimpleNamespace(global_rank=rank, world_size=world_size, fit_loop=loop)  # type: ignore[assignment]
    data.setup()
    return data


def batches(shard: Shard, batch_size: int) -> list[list[int]]:
    return list(BatchSampler(shard, batch_size, drop_last=False))


CASES = [case for case in product(range(1, 40), (1, 2, 3, 8), (1, 2, 3, 4)) if case[0] >= case[2]]


def test_training_takes_no_row_twice_and_gives_every_process_the_same_number_of_batches() -> None:
    for total, batch_size, world_size in CASES:
        shards: list[list[list[int]]] = []
        for rank in range(world_size):
            size = training_rows(total, batch_size, rank, world_size)
            shards.append(batches(Shard(range(total), rank, world_size, size, seed=1), batch_size))
        rows = [*chain(*chain(*shards))]
        case = (total, batch_size, world_size)
        assert len({len(shard) for shard in shards}) == 1, case
        assert len(set(rows)) == len(rows), case
        assert total - len(rows) < 2 * world_size, case
        if total // world_size > batch_size > 1:
            assert min(len(batch) for batch in chain(*shards)) > 1, case


def test_one_process_trains_on_the_batches_of_the_distributed_sampler() -> None:
    for total, batch_size in product(range(1, 40), (1, 2, 3, 8)):
        for epoch in range(2):
            plain = DistributedSampler(range(total), num_replicas=1, rank=0, seed=5)
            alone = total > 1 and batch_size > 1 and total % batch_size == 1
            shard = Shard(range(total), 0, 1, training_rows(total, batch_size, 0, 1), seed=5)
            for sampler in (plain, shard):
                sampler.set_epoch(epoch)
            assert batches(shard, batch_size) == list(BatchSampler(plain, batch_size, alone))


def test_evaluation_takes_every_row_once_in_as_many_batches_everywhere() -> None:
    for total, batch_size, world_size in CASES:
        size = evaluation_batch_size(total, batch_size, world_size)
        shards = [list(Shard(range(total), rank, world_size, shuffle=False)) for rank in range(world_size)]
        case = (total, batch_size, world_size)
        assert sorted(chain(*shards)) == list(range(total)), case
        agree = [len({-(-len(rows) // tried) for rows in shards}) == 1 for tried in range(batch_size, size + 1)]
        assert agree == [False] * (size - batch_size) + [True], case


def test_joined_training_batches_of_equal_shards_are_those_of_one_process() -> None:
    def loaded(rank: int, world_size: int) -> list[list[int]]:
        data = on_rank(Numbers((24, 5, 5), batch_size=8 // world_size), rank, world_size)
        return [inputs.tolist() for inputs, _ in data.train_dataloader()]

    joined = [sorted(a + b) for a, b in zip(loaded(0, 2), loaded(1, 2), strict=True)]
    assert joined == [sorted(batch) for batch in loaded(0, 1)]


def test_the_loaders_of_evaluation_share_a_split_and_whole_does_not() -> None:
    ranks = [on_rank(Numbers((9, 9, 7)), rank, 2) for rank in range(2)]
    shares = [[inputs.tolist() for inputs, _ in data.val_dataloader()] for data in ranks]
    assert shares == [[[0, 2, 4, 6, 8]], [[1, 3, 5, 7]]]
    assert [inputs.tolist() for inputs, _ in ranks[1].test_dataloader()] == [[1, 3, 5]]
    for data in ranks:
        assert [inputs.tolist() for inputs, _ in data.whole("val")] == [[0, 1, 2, 3], [4, 5, 6, 7], [8]]


def test_fewer_rows_than_processes_are_refused() -> None:
    data = on_rank(Numbers((9, 2, 9)), 0, 3)
    with pytest.raises(ValueError, match=r"3 processes, got 2"):
        data.val_dataloader()
    with pytest.raises(ValueError, match=r"10 processes, got 9"):
        on_rank(Numbers((9, 9, 9)), 0, 10).train_dataloader()
