"""What every data module of the recipes shares: a dataset of arrays, checks, loaders and automatic bins."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dir.bins import LabelBins, check_finite
from dir.data.rows import Rows, Views, labels_of
from dir.data.seeds import seed_worker
from dir.data.shards import Shard, evaluation_batch_size, training_rows

Inputs = Tensor | tuple[Tensor, ...]
Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")

# Whole-number labels get a bin each up to this range (ages, counts, degrees); beyond it bins would be too thin.
MAX_INTEGER_RANGE = 200


class ArrayDataset(Dataset[tuple[Inputs, Tensor]]):
    """Inputs and labels held in memory (or memory-mapped), fetched a batch at a time.

    Args:
        inputs: one tensor or a tuple of tensors, first dimension N.
        labels: N labels in raw units; stored as float32.
        transform: called with the inputs of a fetched *batch* (augmentation, uint8 -> float).

    Shape:
        - ``dataset.__getitems__(indices)``: inputs ``[len(indices), ...]`` and labels ``[len(indices)]``.

    Raises:
        ValueError: if inputs and labels differ in length, or labels are not one-dimensional.

    Example:
        >>> data = ArrayDataset(torch.arange(6.0).reshape(3, 2), torch.tensor([1.0, 2.0, 3.0]))
        >>> data.__getitems__([2, 0])[1]
        tensor([3., 1.])
    """

    def __init__(self, inputs: Inputs, labels: Tensor, transform: Callable[[Inputs], Inputs] | None = None) -> None:
        if labels.ndim != 1:
            raise ValueError(f"labels: expected shape [N], got {tuple(labels.shape)}")
        for part in inputs if isinstance(inputs, tuple) else (inputs,):
            if len(part) != len(labels):
                raise ValueError(f"inputs and labels: expected the same length, got {len(part)} and {len(labels)}")
        self.inputs = inputs
        self.labels = labels.to(torch.float32)
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Inputs, Tensor]:
        inputs, labels = self.__getitems__([index])
        first = tuple(part[0] for part in inputs) if isinstance(inputs, tuple) else inputs[0]
        return first, labels[0]

    def __getitems__(self, indices: list[int]) -> tuple[Inputs, Tensor]:
        """A whole batch with one ``index_select`` per array."""
        rows = torch.as_tensor(indices, dtype=torch.int64)
        inputs: Inputs
        if isinstance(self.inputs, tuple):
            inputs = tuple(part.index_select(0, rows) for part in self.inputs)
        else:
            inputs = self.inputs.index_select(0, rows)
        if self.transform is not None:
            inputs = self.transform(inputs)
        return inputs, self.labels.index_select(0, rows)


def take_batch(batch: Any) -> Any:
    """The collate function of datasets that already return batches."""
    return batch


def automatic_bins(labels: Tensor, num_bins: int) -> LabelBins:
    """One bin per whole number if all labels are whole and span at most 200, else ``num_bins`` of equal width.

    Args:
        labels: the training labels.
        num_bins: number of bins in the second case, >= 1.

    Raises:
        ValueError: if there are fewer than two distinct labels.

    Example:
        >>> automatic_bins(torch.tensor([3.0, 9.0]), num_bins=50).num_bins
        7
        >>> automatic_bins(torch.tensor([0.25, 9.0]), num_bins=50).num_bins
        50
    """
    low, high = labels.min().item(), labels.max().item()
    if not low < high:
        raise ValueError(f"labels: expected at least two distinct values, all are {low}")
    if high - low <= MAX_INTEGER_RANGE and bool((labels == labels.round()).all()):
        return LabelBins.integers(int(low), int(high))
    return LabelBins.uniform(low, high, num_bins)


class RegressionData(LightningDataModule):
    """Base of the data modules: a subclass implements :meth:`build`, this class checks and loads.

    The training order depends on ``(seed, epoch)`` alone, so that a resumed run sees what an
    uninterrupted one would have seen.

    Args:
        batch_size: training batch size per process.
        eval_batch_size: batch size of validation and test.
        num_workers: worker processes of each loader; 0 loads in the main process.
        seed: seed of the training order (and of splits, where a subclass draws them).

    Raises:
        ValueError: for sizes below one, and by :meth:`setup` for labels that cannot be trained on.
    """

    # Whether training samples are changed at random, so that two views of one differ.
    augments = False

    def __init__(
        self, batch_size: int = 128, eval_batch_size: int = 512, num_workers: int = 0, seed: int = 0
    ) -> None:
        super().__init__()
        for name, value in (("batch_size", batch_size), ("eval_batch_size", eval_batch_size)):
            if value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")
        if num_workers < 0:
            raise ValueError(f"num_workers: expected at least 0, got {num_workers}")
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.train_views = 1
        self._splits: dict[str, Dataset[Any]] | None = None

    def build(self) -> dict[str, Dataset[Any]]:
        """The datasets ``train``, ``val`` and ``test``, each with ``labels`` (float32 [N], raw units)."""
        raise NotImplementedError(f"{type(self).__name__} must implement build()")

    def encoder_args(self) -> dict[str, Any]:
        """Arguments of the encoder that only the data knows, such as ``{"in_features": 8}``."""
        return {}

    def encoding(self) -> dict[str, Any]:
        """Return how raw inputs become the encoder's inputs, as plain values for the model bundle.

        ``kind`` names the encoder of :mod:`dir.bundle` that reads the rest. This base class describes inputs that
        are given as arrays in the form of a batch.
        """
        return {"kind": "arrays"}

    def setup(self, stage: str | None = None) -> None:
        """Builds and checks the datasets; a second call does nothing."""
        if self._splits is not None:
            return
        splits = self.build()
        missing = [split for split in SPLITS if split not in splits]
        if missing:
            raise ValueError(f"build(): expected the splits {', '.join(SPLITS)}; missing: {', '.join(missing)}")
        for split in SPLITS:
            check_labels(split, splits[split])
        check_two_labels(splits["train"])
        self._splits = splits

    def dataset(self, split: Split) -> Dataset[Any]:
        """The dataset of one split.

        Raises:
            RuntimeError: before :meth:`setup`.
        """
        if self._splits is None:
            raise RuntimeError(f"{type(self).__name__} is not set up: call setup() first")
        return self._splits[split]

    def labels(self, split: Split) -> Tensor:
        """Labels of one split, float32 [N], raw units."""
        return labels_of(self.dataset(split))

    def restrict(self, split: Split, rows: Tensor) -> None:
        """Leaves only the given rows (int64 indices) of a split; what is left must be fit to train on.

        Raises:
            ValueError: nothing is left, or one label alone to train on.
        """
        data = Rows(self.dataset(split), rows)
        check_labels(split, data)
        if split == "train":
            check_two_labels(data)
        assert self._splits is not None
        self._splits[split] = data

    def table(self, split: Split) -> tuple[Any, Any]:
        """The rows of one split before they are encoded: a frame of features and a series of labels.

        Raises:
            ValueError: the data is no table.
        """
        raise ValueError(
            f"{type(self).__name__} holds no table of numbers and categories, which resampling and scikit-learn's "
            "regressors need: use experiment=tabular, or another method"
        )

    def resample(self, resampler: Any) -> None:
        """Puts ``resampler.fit_resample(features, labels)`` in the place of the training rows.

        Raises:
            ValueError: the data is no table, or the resampler refuses it.
        """
        features, labels = resampler.fit_resample(*self.table("train"))
        self.replace_train(features, labels)

    def replace_train(self, features: Any, labels: Any) -> None:
        """Takes other training rows, in the form of :meth:`table`."""
        raise NotImplementedError(f"{type(self).__name__} has a table(), so it must implement replace_train()")

    def set_views(self, views: int) -> None:
        """Training batches hold so many random views of each sample; one where nothing is changed at random."""
        self.train_views = views if self.augments else 1

    def train_dataloader(self) -> DataLoader[Any]:
        """Batches of this process's share, in a new order each epoch; see :func:`dir.data.shards.training_rows`."""
        data = self.dataset("train")
        rank, world_size = self._place()
        size = training_rows(len(self.labels("train")), self.batch_size, rank, world_size)
        # Lightning calls set_epoch on a DistributedSampler and leaves it in place, with one process too.
        sampler = Shard(data, rank, world_size, size, seed=self.seed)
        if self.trainer:
            # A resumed run makes its first iterator before Lightning has set the epoch.
            current: Any = self.trainer.fit_loop.epoch_progress.current
            sampler.set_epoch(current.processed)
        return self._loader(
            Views(data, self.train_views) if self.train_views > 1 else data,
            batch_size=self.batch_size,
            sampler=sampler,
            worker_init_fn=partial(seed_worker, sampler, self.seed, rank),
        )

    def val_dataloader(self) -> DataLoader[Any]:
        return self._share("val")

    def test_dataloader(self) -> DataLoader[Any]:
        return self._share("test")

    def whole(self, split: Split) -> DataLoader[Any]:
        """All rows of a split in their order, however many processes there are."""
        return self._loader(self.dataset(split), batch_size=self.eval_batch_size)

    def _share(self, split: Split) -> DataLoader[Any]:
        """The rows of a split that this process evaluates, each row in one process and once."""
        rank, world_size = self._place()
        if world_size == 1:
            return self.whole(split)
        data = self.dataset(split)
        size = evaluation_batch_size(len(self.labels(split)), self.eval_batch_size, world_size)
        return self._loader(data, batch_size=size, sampler=Shard(data, rank, world_size, shuffle=False))

    def _place(self) -> tuple[int, int]:
        """The rank of this process, and how many there are."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _loader(self, data: Dataset[Any], **kwargs: Any) -> DataLoader[Any]:
        return DataLoader(
            data,
            num_workers=self.num_workers,
            collate_fn=take_batch if hasattr(data, "__getitems__") else None,
            pin_memory=torch.cuda.is_available(),
            # Without a generator of its own a loader draws from the global one, once per epoch but not in
            # the first epoch after a resume: dropout masks would differ from the uninterrupted run's.
            generator=torch.Generator(),
            # Workers live for one epoch: persistent ones would carry their random state over.
            persistent_workers=False,
            **kwargs,
        )


def check_labels(split: str, data: Dataset[Any]) -> None:
    """Raises ValueError unless ``data.labels`` is a non-empty, finite [N] tensor that fits the dataset."""
    labels = labels_of(data)
    size = len(data)  # type: ignore[arg-type]
    if labels.ndim != 1 or len(labels) != size:
        raise ValueError(f"{split} labels: expected shape [{size}], got {tuple(labels.shape)}")
    if size == 0:
        raise ValueError(f"{split}: expected at least one sample, the split is empty")
    check_finite(labels, f"{split} labels")


def check_two_labels(data: Dataset[Any]) -> None:
    """Raises ValueError if all training labels are the same."""
    train = labels_of(data)
    if bool((train == train[0]).all()):
        raise ValueError(
            f"train labels: expected at least two distinct values, all {len(train)} are {train[0].item()}"
        )
