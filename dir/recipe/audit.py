"""Audit of the training labels: rows whose label networks do not learn and do not predict.

Two signals tell a wrong label from a rare one. A network that never saw the label predicts another value (held-out
error), and a network that trains on the label is slow to accept it (error over the epochs). A rare but correct label
has a high held-out error, because networks predict rare labels badly, but it fits its inputs: training learns it
early. The score is the rank of the error over the epochs, which found planted labels at least as well as the mean of
both ranks (docs/audit.md). The disagreement of several predictions of a row is reported beside them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch.utils.data import DataLoader, Dataset

from dir._checks import check_integer, message
from dir.callbacks.lightning import EndEpoch
from dir.data.arrays import take_batch
from dir.data.base import RegressionData
from dir.data.rows import fetches_batches, labels_of
from dir.metrics import ShotMetrics
from dir.models.heads_distribution import DistributionHead
from dir.recipe.agreement import COPIES, Copies, copies_of, disagreement
from dir.recipe.build import build
from dir.recipe.callbacks import EpochSeed
from dir.recipe.parts import Parts
from dir.recipe.prediction_file import bin_and_shot
from dir.recipe.predictions import predict
from dir.recipe.quiet import quiet_lightning
from dir.recipe.run_data import read_split
from dir.recipe.several_targets import refuse_several
from dir.recipe.targets import load_config

Array = NDArray[Any]


@dataclass(frozen=True)
class Audit:
    """The audited training rows of a run, in the order of its training split.

    Args:
        row_id: id of each row, see docs/run_folder.md; empty texts for data without row ids.
        label: label of each row.
        shot: shot group of each label.
        prediction: mean prediction of the networks that did not train on the row.
        held_out_error: mean absolute error of these networks after their last epoch.
        training_error: mean absolute error, over all epochs, of the networks that trained on the row.
        training_disagreement: standard deviation of several predictions of the networks that trained on the row, see
            :func:`dir.recipe.agreement.disagreement`; NaN for networks with one prediction.
        held_out_disagreement: the same of the networks that did not train on the row.
        score: rank of the training error, divided by the number of rows: 1 is the most suspicious.
    """

    row_id: Array
    label: Array
    shot: Array
    prediction: Array
    held_out_error: Array
    training_error: Array
    training_disagreement: Array
    held_out_disagreement: Array
    score: Array


def score_rows(training_error: Array) -> Array:
    """Return the suspicion of each row in (0, 1]: the rank of its error over the epochs, divided by their number.

    Example:
        >>> score_rows(np.array([0.2, 1.0, 0.1, 0.2]))
        array([0.625, 1.   , 0.25 , 0.625])
    """
    return np.asarray(rankdata(training_error) / len(training_error))


def audit_run(
    checkpoint: Path, folds: int = 5, repeats: int = 1, trust: bool = False, progress: bool = True
) -> Audit:
    """Train ``folds * repeats`` networks with the settings of a run, each without a part of its training rows.

    The networks train for all epochs of the run, on its training rows without one fold, and predict all training rows
    after each epoch. Neither the validation nor the test split is read. Nothing is written.

    Args:
        checkpoint: file in the ``checkpoints/`` of a run folder; only its config and split are read.
        folds: number of parts of the training rows, >= 2.
        repeats: number of divisions into folds, >= 1. More of them give steadier scores.
        trust: see :func:`dir.recipe.targets.load_config`.
        progress: print a line per network.

    Raises:
        ValueError: bad arguments, a method of two stages or with resampled rows, or a scikit-learn estimator.
    """
    check_integer("folds", folds, 2)
    check_integer("repeats", repeats, 1)
    quiet_lightning()
    cfg = load_config(checkpoint, [], trust)
    for key in ("estimator", "retrain", "resample"):
        if cfg.method.get(key) is not None:
            advice = "Audit a run of method=vanilla, lds or histogram on the same data."
            raise ValueError(
                message("run", f"its method sets method.{key}, which the audit cannot repeat", advice=advice)
            )
    if cfg.get("noise") is not None:
        problem = "its training rows are downweighted by an audit already"
        raise ValueError(message("run", problem, advice="Audit the run without +noise=downweight."))
    refuse_several(cfg, "an audit ranks the labels of one target")
    saved = read_split(checkpoint.resolve().parents[1])

    def set_up(data: RegressionData) -> None:
        if saved is None:
            data.setup()
        else:
            data.restore_split(saved)

    whole = build(cfg, set_up)
    size = len(whole.data.labels("train"))
    if size < folds:
        raise ValueError(message("folds", f"expected at most {size}, the number of training rows", folds))
    held_out, held_error, seen_error, seen_spread, held_spread = np.zeros((5, size))
    for number in range(folds * repeats):
        repeat, fold = divmod(number, folds)
        order = torch.randperm(size, generator=torch.Generator().manual_seed(repeat)).numpy()
        out = np.zeros(size, dtype=bool)
        out[order[fold::folds]] = True
        errors, prediction, spread = _train_fold(cfg, set_up, out, seed=int(cfg.seed) + number)
        held_out[out] += prediction[out] / repeats
        held_error[out] += errors[-1][out] / repeats
        held_spread[out] += spread[out] / repeats
        seen_error[~out] += errors[:, ~out].mean(axis=0) / ((folds - 1) * repeats)
        seen_spread[~out] += spread[~out] / ((folds - 1) * repeats)
        if progress:
            print(f"network {number + 1} of {folds * repeats}: held-out MAE {errors[-1][out].mean():.4g}")
    if progress:
        print(_about(copies_of(whole.module, whole.data.augments)))
        head = whole.module.model.head
        if isinstance(head, DistributionHead):
            print(
                f"power of the label prior: {head.power:g}, as in training; the power that the run chose is not used"
            )
    return _result(whole, held_out, held_error, seen_error, seen_spread, held_spread)


def _about(copies: Copies | None) -> str:
    """Return what the disagreement of a row is."""
    if copies is None:
        return "disagreement: none, the network has no members, no dropout and no augmented rows"
    named = {"members": "the members", "views": f"{COPIES} augmented views", "dropout": f"{COPIES} dropout masks"}
    return f"disagreement: standard deviation over {named[copies]}"


def _train_fold(cfg: Any, set_up: Any, out: Array, seed: int) -> tuple[Array, Array, Array]:
    """Return the absolute error of each row after each epoch [epochs, N].

    Further the predictions after the last epoch [N], and their disagreement [N].
    """
    rows: list[Dataset[Any]] = []

    def without_fold(data: RegressionData) -> None:
        set_up(data)
        rows.append(data.dataset("train"))
        data.restrict("train", torch.from_numpy(np.flatnonzero(~out)))

    torch.manual_seed(seed)
    parts = build(cfg, without_fold)
    watch = _Watch(parts, rows[0])
    trainer = parts.make_trainer(
        logger=False,
        callbacks=[EndEpoch(), EpochSeed(seed), watch],
        enable_progress_bar=False,
        enable_checkpointing=False,
        limit_val_batches=0,
    )
    trainer.fit(parts.module, datamodule=parts.data)
    copies = copies_of(parts.module, parts.data.augments)
    spread = np.full(len(out), np.nan)
    if copies is not None:
        spread = disagreement(parts.module, watch.loader, copies).numpy()
    return np.stack(watch.errors), watch.prediction, spread


class _Watch(Callback):
    """Predicts all training rows, with those left out, after each epoch."""

    def __init__(self, parts: Parts, rows: Dataset[Any]) -> None:
        self.loader: DataLoader[Any] = DataLoader(
            rows,
            batch_size=parts.data.eval_batch_size,
            collate_fn=take_batch if fetches_batches(rows) else None,
            generator=torch.Generator(),
        )
        self.labels = labels_of(rows).double().numpy()
        self.errors: list[Array] = []
        self.prediction: Array = np.zeros(0)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        training = pl_module.training
        found: Any = predict(pl_module, self.loader, pl_module.device)  # type: ignore[arg-type]
        pl_module.train(training)
        self.prediction = found.predictions.double().numpy()
        self.errors.append(np.abs(self.prediction - self.labels))


def _result(
    whole: Parts, held_out: Array, held_error: Array, seen_error: Array, seen_spread: Array, held_spread: Array
) -> Audit:
    metrics, labels = whole.module.metrics, whole.data.labels("train")
    assert isinstance(metrics, ShotMetrics)  # several targets are refused
    _, shot = bin_and_shot(metrics, labels)
    try:
        ids = np.array(whole.data.row_ids("train"))
    except RuntimeError:
        ids = np.full(len(labels), "")
    score = score_rows(seen_error)
    return Audit(ids, labels.numpy(), shot, held_out, held_error, seen_error, seen_spread, held_spread, score)
