from __future__ import annotations

from itertools import chain
from typing import Any

import pytest
import torch
from lightning import LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dir.data.base import ArrayDataset, RegressionData, automatic_bins
from dir.data.seeds import seed_all


class Numbers(RegressionData):
    def __init__(self, splits: dict[str, Tensor], transform: Any = None, **kwargs: int) -> None:
        super().__init__(**kwargs)
        self.given = splits
        self.built = 0
        self.transform = transform

    def build(self) -> dict[str, Dataset[Any]]:
        self.built += 1
        return {
            split: ArrayDataset(torch.arange(len(labels)), labels, self.transform)
            for split, labels in self.given.items()
        }


def numbers(train: int = 10, **kwargs: Any) -> Numbers:
    splits = {"train": torch.arange(float(train)), "val": torch.ones(3), "test": torch.ones(4)}
    data = Numbers(splits | kwargs.pop("splits", {}), **kwargs)
    return data


def order(loader: DataLoader[Any], epoch: int) -> list[list[int]]:
    loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
    return [inputs.tolist() for inputs, _ in loader]


def test_a_batch_is_fetched_at_once_and_transformed_as_a_batch() -> None:
    calls: list[int] = []

    def transform(inputs: Any) -> Any:
        calls.append(len(inputs[0]))
        return inputs[0] * 2, inputs[1]

    inputs = torch.arange(6).reshape(3, 2), torch.tensor([7, 8, 9])
    data = ArrayDataset(inputs, torch.tensor([1, 2, 3]), transform)
    (first, second), labels = data.__getitems__([2, 0, 2])
    assert first.tolist() == [[8, 10], [0, 2], [8, 10]]
    assert second.tolist() == [9, 7, 9]
    assert labels.tolist() == [3.0, 1.0, 3.0]
    assert labels.dtype == torch.float32
    assert calls == [3]
    (one, other), label = data[1]
    assert (one.tolist(), other.item(), label.item()) == ([4, 6], 8, 2.0)


@pytest.mark.parametrize(
    ("inputs", "labels", "message"),
    [
        (torch.zeros(3), torch.zeros(2), "inputs.*2 labels.*got 3"),
        ((torch.zeros(2), torch.zeros(3)), torch.zeros(2), "inputs.*2 labels.*got 3"),
        (torch.zeros(2), torch.zeros(2, 1), r"labels.*\[N\].*got \[2, 1\]"),
    ],
)
def test_inputs_that_do_not_fit_the_labels_are_refused(inputs: Any, labels: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ArrayDataset(inputs, labels)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_training_order_depends_on_seed_and_epoch_alone(workers: int) -> None:
    first, second = (numbers(batch_size=4, seed=5, num_workers=workers) for _ in range(2))
    for data in (first, second):
        data.setup()
    torch.manual_seed(0)
    loader = first.train_dataloader()
    epochs = [order(loader, epoch) for epoch in range(3)]
    torch.manual_seed(99)
    assert order(second.train_dataloader(), 2) == epochs[2]
    assert epochs[0] != epochs[1]
    for batches in epochs:
        assert sorted(chain(*batches)) == list(range(10))
    other = numbers(batch_size=4, seed=6)
    other.setup()
    assert order(other.train_dataloader(), 0) != epochs[0]


def test_loaders_leave_the_global_random_state_alone() -> None:
    data = numbers()
    data.setup()
    before = torch.get_rng_state()
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        list(loader)
    assert torch.equal(before, torch.get_rng_state())


def test_a_worker_draws_by_seed_epoch_rank_and_number() -> None:
    def noisy(inputs: Tensor) -> Tensor:
        return torch.rand(len(inputs))

    data = numbers(transform=noisy, num_workers=2, batch_size=5)
    data.setup()
    loader = data.train_dataloader()
    draws = []
    for epoch in (0, 1, 0):
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        draws.append(torch.cat([inputs for inputs, _ in loader]))
    assert torch.equal(draws[0], draws[2])
    assert not torch.equal(draws[0], draws[1])
    assert len(draws[0].unique()) == 10


def test_validation_and_test_keep_their_order_and_every_sample() -> None:
    data = numbers(eval_batch_size=2)
    data.setup()
    assert [inputs.tolist() for inputs, _ in data.test_dataloader()] == [[0, 1], [2, 3]]
    assert [inputs.tolist() for inputs, _ in data.val_dataloader()] == [[0, 1], [2]]


def test_a_last_batch_of_one_is_left_out_of_training_only() -> None:
    data = numbers(train=9, batch_size=4)
    data.setup()
    assert [len(labels) for _, labels in data.train_dataloader()] == [4, 4]
    ten = numbers(train=10, batch_size=4)
    ten.setup()
    assert [len(labels) for _, labels in ten.train_dataloader()] == [4, 4, 2]


def test_setup_builds_once_and_labels_need_it() -> None:
    data = numbers()
    with pytest.raises(RuntimeError, match=r"setup\(\) first"):
        data.labels("train")
    data.setup()
    data.setup("fit")
    assert data.built == 1
    assert data.labels("test").tolist() == [1.0] * 4
    assert data.encoder_args() == {}


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        (
            {"val": torch.tensor([1.0, float("nan"), float("inf")])},
            r"val labels.*got nan in row 1 \(2 bad values; rows 1, 2\)",
        ),
        ({"train": torch.full((20,), float("nan"))}, r"train labels.*20 bad values; rows 0, 1, .*9 and 10 more"),
        ({"test": torch.zeros(0)}, "test: expected at least one sample"),
        ({"train": torch.full((5,), 2.0)}, "two distinct values, all 5 are 2.0"),
    ],
)
def test_labels_that_cannot_be_trained_on_are_refused(splits: dict[str, Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        numbers(splits=splits).setup()


def test_a_missing_split_is_refused() -> None:
    with pytest.raises(ValueError, match="missing: val"):
        Numbers({"train": torch.arange(3.0), "test": torch.ones(1)}).setup()


@pytest.mark.parametrize("argument", [{"batch_size": 0}, {"eval_batch_size": -1}, {"num_workers": -1}])
def test_sizes_below_their_least_are_refused(argument: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(argument))):
        numbers(**argument)


def test_a_subclass_without_build_says_so() -> None:
    with pytest.raises(NotImplementedError, match="RegressionData"):
        RegressionData().setup()


def test_lightning_sets_the_epoch_of_the_order() -> None:
    class Listener(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)
            self.seen: dict[int, list[int]] = {}

        def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
            self.seen.setdefault(self.current_epoch, []).extend(batch[0].tolist())
            return self.layer(batch[1][:, None]).mean()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.0)

    listener, data = Listener(), numbers(batch_size=4, seed=3)
    Trainer(max_epochs=2, accelerator="cpu", barebones=True).fit(listener, datamodule=data)
    alone = numbers(batch_size=4, seed=3)
    alone.setup()
    loader = alone.train_dataloader()
    assert listener.seen == {epoch: list(chain(*order(loader, epoch))) for epoch in (0, 1)}


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([-2.0, 3.0], 6),
        ([0.0, 200.0], 201),
        ([0.0, 201.0], 50),
        ([0.0, 0.5, 3.0], 50),
    ],
)
def test_automatic_bins_are_one_per_whole_number_where_that_is_not_too_many(
    labels: list[float], expected: int
) -> None:
    bins = automatic_bins(torch.tensor(labels), num_bins=50)
    assert bins.num_bins == expected
    assert bins(torch.tensor([min(labels), max(labels)])).tolist() == [0, expected - 1]


def test_automatic_bins_refuse_a_single_value() -> None:
    with pytest.raises(ValueError, match=r"all are 2\.0"):
        automatic_bins(torch.full((3,), 2.0), num_bins=5)


def test_seed_all_separates_its_parts() -> None:
    draws = []
    for parts in ((0, 1), (1, 0), (0, 1), (1,)):
        seed_all(*parts)
        draws.append(torch.rand(3).tolist())
    assert draws[0] == draws[2]
    assert len({tuple(draw) for draw in draws}) == 3
