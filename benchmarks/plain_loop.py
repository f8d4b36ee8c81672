"""A plain PyTorch loop that trains like the recipe: the same model, batches, random numbers and optimizer steps."""

from __future__ import annotations

import copy
from typing import Any, Literal

import torch
from torch import Tensor

from dir.data.arrays import ArrayDataset
from dir.data.base import RegressionData
from dir.data.seeds import seed_all
from dir.data.shards import training_rows
from dir.recipe.module import RegressionModule

# What the loop does at the end of an epoch: the metrics of the recipe on val, the mean absolute error alone, nothing.
Evaluation = Literal["metrics", "mae", "none"]


def plain_loop(
    module: RegressionModule, data: RegressionData, epochs: int, evaluation: Evaluation
) -> dict[str, Tensor]:
    """Train the module in place, and return the weights of its best epoch, or of its last without an evaluation.

    Args:
        module: module of a run without mixup and regularisers, as :func:`dir.recipe.build.build` returns it.
        data: its data, held in memory.
        epochs: number of epochs.
        evaluation: see :data:`Evaluation`.
    """
    inputs, labels = _arrays(data, "train")
    val = _arrays(data, "val")
    size = training_rows(len(labels), data.batch_size, 0, 1)
    made: Any = module.configure_optimizers()
    optimizer, scheduler = (made["optimizer"], made["lr_scheduler"]) if isinstance(made, dict) else (made, None)
    best, kept = float("inf"), module.state_dict()
    for epoch in range(epochs):
        # The random numbers of the recipe: the order of the rows, and the masks of dropout.
        seed_all(data.seed, epoch, 0)
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(data.seed + epoch))
        module.train()
        for rows in order[:size].split(data.batch_size):
            batch, batch_labels = inputs[rows], labels[rows]
            output = module.model(batch, batch_labels)
            weight = None if module.lds is None else module.lds(batch_labels)
            loss = module.criterion(output, module.to_target(batch_labels), weight=weight)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if module.model.fds is not None:
            module.model.fds.end_epoch()
        if scheduler is not None:
            scheduler.step()
        if evaluation != "none":
            error = _evaluate(module, val, evaluation)
            if error < best:
                best, kept = error, copy.deepcopy(module.state_dict())
    return kept


def _arrays(data: RegressionData, split: Literal["train", "val"]) -> tuple[Tensor, Tensor]:
    dataset = data.dataset(split)
    assert isinstance(dataset, ArrayDataset)
    assert isinstance(dataset.inputs, Tensor)
    return dataset.inputs, dataset.labels


@torch.no_grad()
def _evaluate(module: RegressionModule, val: tuple[Tensor, Tensor], evaluation: Evaluation) -> float:
    """Return the mean absolute error, after all metrics of the recipe have been computed where they are wanted."""
    module.eval()
    inputs, labels = val
    predictions = module(inputs)
    if evaluation == "mae":
        return float((predictions - labels).abs().mean())
    module.metrics.update(predictions, labels)
    groups = module.metrics.compute()
    module.metrics.reset()
    return float(groups["all"]["mae"])
