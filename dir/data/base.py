"""RegressionData: base of the data modules, with their splits, loaders and checks."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import torch
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from dir._checks import check_integer, message
from dir.data.arrays import ArrayDataset as ArrayDataset
from dir.data.arrays import Inputs as Inputs
from dir.data.arrays import automatic_bins as automatic_bins
from dir.data.arrays import take_batch
from dir.data.describe import describe_splits
from dir.data.identified import IdentifiedRows
from dir.data.importance import ImportantRows, WeightedRows
from dir.data.label_chunks import LabelChunks
from dir.data.rows import Views, check_labels, check_two_labels, fetches_batches, labels_of
from dir.data.seeds import seed_worker
from dir.data.shards import Shard, evaluation_batch_size, training_rows

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


class RegressionData(IdentifiedRows, ImportantRows, LightningDataModule):
    """Base of the data modules: a subclass implements :meth:`build`, this class checks and loads.

    The training order depends on ``(seed, epoch)`` alone, so that a resumed run sees the batches that an
    uninterrupted run would have seen.

    Args:
        batch_size: training batch size per process.
        eval_batch_size: batch size of validation and test.
        num_workers: worker processes of each loader; 0 loads in the main process.
        seed: seed of the training order (and of the splits, if a subclass draws them).

    Raises:
        ValueError: for sizes below one, and by :meth:`setup` for labels that cannot be trained on.
    """

    # Whether training samples are changed at random, so that two views of one sample differ.
    augments = False
    # Whether the criterion sees log(1 + label), decided by setup(); and the decision of an earlier run, which an
    # evaluation of this run sets before setup().
    log1p = False
    kept_log1p: bool | None = None
    # The encoding() of an earlier run, from its model bundle: a table is encoded with it instead of being fitted.
    kept_encoding: dict[str, Any] | None = None
    # Names of the targets; a data module of one target need not name it.
    targets: tuple[str, ...] = ()
    # Type of raw labels and predictions.
    label_dtype = torch.float32

    def __init__(
        self, batch_size: int = 128, eval_batch_size: int = 512, num_workers: int = 0, seed: int = 0
    ) -> None:
        super().__init__()
        check_integer("data.batch_size", batch_size)
        check_integer("data.eval_batch_size", eval_batch_size)
        check_integer("data.num_workers", num_workers, minimum=0)
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.train_views = 1
        self._splits: dict[str, Dataset[Any]] | None = None

    def build(self) -> dict[str, Dataset[Any]]:
        """Return the datasets ``train``, ``val`` and ``test``, with raw ``labels``, float [N] or [N, K]."""
        raise NotImplementedError(f"{type(self).__name__} must implement build()")

    def encoder_args(self) -> dict[str, Any]:
        """Return the arguments of the encoder that only the data knows, such as ``{"in_features": 8}``."""
        return {}

    def encoding(self) -> dict[str, Any]:
        """Return how raw inputs become the encoder's inputs, as plain values for the model bundle.

        ``kind`` names the encoder of :mod:`dir.bundle` that reads the rest. This base class describes inputs that
        are given as arrays in the form of a batch.
        """
        return {"kind": "arrays"}

    def setup(self, stage: str | None = None) -> None:
        """Build and check the datasets. A second call does nothing."""
        if self._splits is not None:
            return
        self._make_ids = self._importance = None
        # Labels of the splits that a protocol restricts, as they were before.
        self._restricted: dict[str, Tensor] = {}
        self.importance_source, self.importance_notes = "", ()
        splits = self.build()
        missing = [split for split in SPLITS if split not in splits]
        if missing:
            problem = f"expected the splits {', '.join(SPLITS)}; missing: {', '.join(missing)}"
            raise ValueError(message(f"{type(self).__name__}.build()", problem))
        if self._make_ids is None:
            splits = self._place_arrays(splits)
        self.check_splits(splits)
        self._splits = splits

    def check_splits(self, splits: dict[str, Dataset[Any]]) -> None:
        """Raise a ValueError for a split without rows, for labels that are not finite, and for one training label."""
        for split in SPLITS:
            check_labels(split, splits[split], max(1, len(self.targets)))
        check_two_labels(splits["train"], self.targets)

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits that are open: without ``test`` after :meth:`close_test`."""
        return tuple(split for split in SPLITS if self._splits is None or split in self._splits)

    def close_test(self) -> None:
        """Remove the test rows: from here on, whatever asks for them raises a RuntimeError.

        A search that compares settings closes them, so that no number of the search can depend on them.
        """
        self.setup()

        def opened(rows: Any) -> Any:
            return {split: value for split, value in rows.items() if split != "test"}

        # New dictionaries: make_ids() reads the old ones.
        self._splits, self._placed, self._current = map(opened, (self._splits, self._placed, self._current))
        self._importance = None if self._importance is None else opened(self._importance)

    def dataset(self, split: Split) -> Dataset[Any]:
        """Return the dataset of one split.

        Raises:
            RuntimeError: before :meth:`setup`.
        """
        if self._splits is None:
            raise RuntimeError(f"{type(self).__name__} is not set up. Call setup() first.")
        if split not in self._splits:
            advice = "Train with dir-train, which evaluates the test rows."
            raise RuntimeError(message(split, "the rows are closed to a search", advice=advice))
        return self._splits[split]

    def labels(self, split: Split) -> Tensor:
        """Return the labels of one split in raw units, float [N], or [N, K] of several targets."""
        return labels_of(self.dataset(split))

    def label_chunks(self, split: Split) -> LabelChunks:
        """Return the labels of one split to be read chunk by chunk; here all of them are one chunk."""
        labels = self.labels(split)
        return LabelChunks(lambda: iter([labels]))

    def population(self) -> tuple[Tensor, Any]:
        """Return the labels of all rows, and their inputs before they are encoded, for the monitoring of the model.

        All rows are those of the open splits before a protocol or a resampler changed the training rows. A balanced
        split makes each of its parts unlike the rows to come, but not their union.

        Returns:
            labels in raw units, and for a table a frame of numbers as float64 and categories as text, whose rows need
            not be in the order of the labels; else None.
        """
        self.setup()
        return torch.cat([self._restricted.get(split, self.labels(split)) for split in self.splits]), None

    def restrict(self, split: Split, rows: Tensor) -> None:
        """Keep only the given rows (int64 indices) of a split, and check that they can be trained on.

        Raises:
            ValueError: if no row is left, or the training rows have one label alone.
        """
        before = self.labels(split)
        data = Subset(self.dataset(split), rows.tolist())
        check_labels(split, data, max(1, len(self.targets)))
        if split == "train":
            check_two_labels(data, self.targets)
        assert self._splits is not None
        self._splits[split] = data
        self._restricted.setdefault(split, before)
        self._restrict_rows(split, rows)
        self._restrict_importance(split, rows)

    def describe(self) -> dict[str, Any]:
        """Return how the data was read, JSON-able: the labels of each split, and the columns of a table.

        :func:`dir.data.describe.format_description` makes text of it.
        """
        labels: dict[str, Any] = {split: self.labels(split).numpy() for split in self.splits}
        return {"splits": describe_splits(labels, self.targets)} | self.describe_importance()

    def table(self, split: Split) -> tuple[Any, Any]:
        """Return the rows of one split before they are encoded: a frame of features and a series of labels.

        Raises:
            ValueError: if the data is not a table.
        """
        raise ValueError(
            message(
                "data",
                f"{type(self).__name__} is not a table of numbers and categories, which resampling and "
                "scikit-learn's regressors need",
                advice="Use experiment=tabular, or another method.",
            )
        )

    def resample(self, resampler: Any) -> None:
        """Replace the training rows by ``resampler.fit_resample(features, labels)``.

        Raises:
            ValueError: if the data is not a table, or the resampler refuses it; if the rows have an importance, which
                a synthetic row would lack.
        """
        if len(self.targets) > 1:
            raise ValueError(message("method.resample", "not possible with several targets", list(self.targets)))
        if self.importance("train") is not None:
            advice = "Remove the importance, or choose a method that weights rows, such as lds."
            problem = "resampling would lose the importance of the rows"
            raise ValueError(message("method.resample", problem, self.importance_source, advice))
        features, labels = resampler.fit_resample(*self.table("train"))
        self.replace_train(features, labels)
        self._current["train"] = None

    def replace_train(self, features: Any, labels: Any) -> None:
        """Replace the training rows by rows in the form of :meth:`table`."""
        raise NotImplementedError(f"{type(self).__name__} has a table(), so it must implement replace_train()")

    def replace_test(self, path: str) -> None:
        """Replace the test rows by the rows of another file, encoded as the training rows.

        Raises:
            ValueError: if the data is not a table.
        """
        problem = f"rows of another file need the model bundle of the run, since {type(self).__name__} is not a table"
        advice = "Set ckpt=RUN for the folder of a finished run, without settings that change the evaluation."
        raise ValueError(message("data.test_path", problem, path, advice))

    def set_views(self, views: int) -> None:
        """Set the number of random views of each sample in a training batch; it stays 1 without augmentation."""
        self.train_views = views if self.augments else 1

    def train_dataloader(self) -> DataLoader[Any]:
        """Return batches of this process's rows, in a new order each epoch; with importance as a third part.

        :func:`dir.data.shards.training_rows` gives the number of rows.
        """
        data, importance = self.dataset("train"), self.importance("train")
        if importance is not None:
            data = WeightedRows(data, importance)
        rank, world_size = self._rank_and_world_size()
        size = training_rows(len(data), self.batch_size, rank, world_size)  # type: ignore[arg-type]
        # Lightning calls set_epoch on a DistributedSampler and keeps the sampler, with one process too.
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
        return self._evaluation_loader("val")

    def test_dataloader(self) -> DataLoader[Any]:
        return self._evaluation_loader("test")

    def whole(self, split: Split) -> DataLoader[Any]:
        """Return a loader of all rows of a split in their order, with any number of processes."""
        return self._loader(self.dataset(split), batch_size=self.eval_batch_size)

    def _evaluation_loader(self, split: Split) -> DataLoader[Any]:
        """Return a loader of the rows of a split that this process evaluates; no row is in two processes."""
        rank, world_size = self._rank_and_world_size()
        if world_size == 1:
            return self.whole(split)
        data = self.dataset(split)
        size = evaluation_batch_size(len(data), self.eval_batch_size, world_size)  # type: ignore[arg-type]
        return self._loader(data, batch_size=size, sampler=Shard(data, rank, world_size, shuffle=False))

    def _rank_and_world_size(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _loader(self, data: Dataset[Any], **kwargs: Any) -> DataLoader[Any]:
        return DataLoader(
            data,
            num_workers=self.num_workers,
            collate_fn=take_batch if fetches_batches(data) else None,
            pin_memory=torch.cuda.is_available(),
            # Without its own generator a loader draws from the global one, once per epoch but not in the first epoch
            # after a resume: dropout masks would differ from those of the uninterrupted run.
            generator=torch.Generator(),
            # Workers live for one epoch: persistent workers would carry their random state over.
            persistent_workers=False,
            **kwargs,
        )
