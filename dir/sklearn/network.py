"""The training of a small network on a table, which leaves PyTorch's random state as it was."""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from dir._checks import message
from dir.fds import FDS
from dir.losses.base import Criterion
from dir.models.regressor import Regressor
from dir.models.target_units import TargetUnits

_ONE_AT_A_TIME = threading.Lock()


class TableRows(NamedTuple):
    """Scaled inputs [N, D], float32; raw labels [N], float64; weights [N], float32, or None."""

    inputs: Tensor
    labels: Tensor
    weights: Tensor | None


class TrainingSettings(NamedTuple):
    """Settings of the training loop; ``patience`` None trains all epochs."""

    max_epochs: int
    learning_rate: float
    weight_decay: float
    batch_size: int
    patience: int | None
    verbose: bool


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed PyTorch's global generator, from which layers and dropout draw, and restore its state afterwards.

    The generator belongs to all threads, so that one thread at a time trains. Everything is made on the CPU.

    Example:
        >>> before = torch.get_rng_state()
        >>> with seeded(0):
        ...     drawn = torch.rand(())
        >>> torch.equal(before, torch.get_rng_state())
        True
    """
    with _ONE_AT_A_TIME, torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.manual_seed(seed)
        yield


def train_network(
    model: Regressor,
    criterion: Criterion,
    units: TargetUnits,
    train: TableRows,
    val: TableRows | None,
    settings: TrainingSettings,
) -> list[float]:
    """Train the model, leave it with the weights of the best epoch, and return the validation RMSE of each epoch.

    Without validation rows, or without ``patience``, the weights of the last epoch stay.

    Args:
        model: encoder, FDS or none, and head.
        criterion: loss of the head's output and the targets.
        units: from raw labels to targets, and from predictions to raw predictions.
        train, val: rows. The weights of the training rows are those of the loss.
        settings: see :class:`TrainingSettings`.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    targets = units.to_target(train.labels)
    errors: list[float] = []
    best: dict[str, Tensor] | None = None
    for epoch in range(settings.max_epochs):
        model.train()
        for rows in torch.split(torch.randperm(len(targets)), settings.batch_size):
            output = model(train.inputs[rows], train.labels[rows])
            loss = criterion(output, targets[rows], None if train.weights is None else train.weights[rows])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
        if isinstance(model.fds, FDS):
            model.fds.end_epoch()
        model.eval()
        error = loss.item() if val is None else _rmse(model, units, val)
        if not math.isfinite(error):
            problem = f"the training diverged in epoch {epoch + 1}"
            raise ValueError(message("learning_rate", problem, settings.learning_rate, "Choose a lower one."))
        if val is None:
            if settings.verbose:
                print(f"epoch {epoch + 1}: training loss of the last batch {error:.4g}")
            continue
        errors.append(error)
        if settings.verbose:
            print(f"epoch {epoch + 1}: validation RMSE {errors[-1]:.4g}")
        if settings.patience is None:
            continue
        if errors[-1] == min(errors):
            best = copy.deepcopy(model.state_dict())
        elif epoch - errors.index(min(errors)) >= settings.patience:
            break
    if best is not None:
        model.load_state_dict(best)
    return errors


@torch.no_grad()
def _rmse(model: Regressor, units: TargetUnits, rows: TableRows) -> float:
    gap = units.to_raw(model.predict(model(rows.inputs))) - rows.labels
    weights = torch.ones_like(gap) if rows.weights is None else rows.weights.to(gap.dtype)
    return math.sqrt(float((weights * gap.square()).sum() / weights.sum()))


@torch.no_grad()
def run_in_blocks(model: Regressor, inputs: Tensor, rows: int = 4096) -> Tensor:
    """Return the outputs of the head, computed for blocks of rows, which bounds the memory."""
    return torch.cat([model(block) for block in torch.split(inputs, rows)])
