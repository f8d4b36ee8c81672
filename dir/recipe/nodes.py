"""Nodes of a config: how they are instantiated, and which of them the evaluated stage of a run has."""

from __future__ import annotations

import copy
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig

from dir.losses.base import Regularizer


def instantiate_with(node: Any, **kwargs: Any) -> Any:
    """Instantiate a config node with further keyword arguments.

    The arguments bypass Hydra, which would copy them: tables of word vectors are large.
    """
    if node.get("_partial_", False):
        return instantiate(node, _convert_="all")(**kwargs)
    return instantiate(node, _convert_="all", _partial_=True)(**kwargs)


def make_regularizers(cfg: DictConfig) -> list[Regularizer]:
    """Return the regulariser of the method and the one that ``+regularizer=NAME`` adds."""
    nodes = [node for node in (cfg.method.regularizer, cfg.regularizer) if node is not None]
    return [instantiate_with(node) for node in nodes]


def last_stage(cfg: DictConfig) -> DictConfig:
    """Return the config of the stage that a run evaluates: the second of two stages, else the config itself.

    The second stage trains the head with the loss and the weights of the method. The parts that shape features only
    apply to the first stage.
    """
    retrain = cfg.method.retrain
    if retrain is None:
        return cfg
    stage = copy.deepcopy(cfg)
    stage.trainer.max_epochs, stage.optimizer.lr = retrain.epochs, retrain.lr
    for part in ("fds", "output_fds", "regularizer", "mixup"):
        stage.method[part] = None
    stage.regularizer, stage.method.views = None, 1
    return stage
