"""The arguments of a trained :class:`dir.recipe.module.RegressionModule`, from a checkpoint in its run folder."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor

from dir._checks import message
from dir.bins import LabelBins
from dir.bundle import load
from dir.bundle.description import DESCRIPTION, bins_from_dict, read, target_dtype, target_log1p
from dir.fds import FDS
from dir.fds.output import OutputFDS
from dir.metrics import SHOTS, ShotMetrics
from dir.models.members import MemberHead, MemberLoss
from dir.recipe.checkpoints import read_checkpoint
from dir.recipe.nodes import instantiate_with, last_stage, make_regularizers
from dir.recipe.run_folder import RunFolder
from dir.recipe.targets import load_config

# Entry of a bundle's section ``run``: the bins of the shot metrics, and the bins of each shot group.
METRIC_BINS = "metric_bins"


class Restored(NamedTuple):
    """What a module is built from.

    Args:
        arguments: of the module.
        state: its state_dict.
        frozen: whether the run froze the encoder.
        targets: the centre of each bin in the criterion's units, as often as the bin has training labels, [N].
        target_bins: the bins in the criterion's units.
    """

    arguments: dict[str, Any]
    state: dict[str, Tensor]
    frozen: bool
    targets: Tensor
    target_bins: LabelBins


def restored(checkpoint: Path, trust: bool = False, given: Container[str] = ()) -> Restored:
    """Return what the module of a run is built from, and the state in a checkpoint.

    The data of the run is not read: the network and the label counts come from the model bundle, the bins of FDS from
    the checkpoint, and the other parts from config.yaml. The run folder is data, see :mod:`dir.recipe.targets`.

    Args:
        checkpoint: file in the folder ``checkpoints/`` of a finished run.
        trust: whether config.yaml may build any class. Such a file runs code of its author's choice.
        given: names of the arguments that the caller has.

    Raises:
        FileNotFoundError: the checkpoint, config.yaml or the model bundle is missing.
        ValueError: a file is damaged, config.yaml names a class that a run folder may not build, or the rows of the
            run have an importance and ``importance_scale`` is not given.
    """
    whole = load_config(checkpoint, [], trust)
    if whole.data.get("importance") is not None and "importance_scale" not in given:
        problem = "the rows of the run have an importance, whose scale the run folder does not keep"
        advice = "Pass importance_scale=dir.recipe.module.importance_scale(...) to train, or 1.0 to predict."
        raise ValueError(message("importance_scale", problem, advice=advice))
    cfg, folder = last_stage(whole), RunFolder(checkpoint.resolve().parents[1])
    if not (folder.model / DESCRIPTION).is_file():
        advice = "Only a finished run has a model. Build the module yourself and pass its arguments, such as model=."
        raise FileNotFoundError(message(str(folder.model), "the run has no model bundle", advice=advice))
    state: dict[str, Tensor] = read_checkpoint(checkpoint)["state_dict"]
    bundle = load(folder.model)
    if bundle.module is None:
        raise ValueError(message(str(folder.model), "the model is a scikit-learn regressor, not a network"))
    fields = read(folder.model)[1]
    if len(bundle.targets) > 1:
        problem, advice = "a module of several targets is not restored", "Predict by dir.bundle.load(RUN)."
        raise ValueError(message(str(folder.model), problem, bundle.targets, advice))
    model, target = bundle.module.regressor, fields.section("target")
    if cfg.method.fds is not None:
        bins = _bins(state, "model.fds.bins.edges", cfg.task.fds_bins)
        model.fds = instantiate_with(cfg.method.fds, num_features=model.num_features, bins=bins)
    criterion = instantiate_with(cfg.method.loss)
    arguments = {
        "model": model,
        "criterion": MemberLoss(criterion) if isinstance(model.head, MemberHead) else criterion,
        "metrics": _metrics(bundle.description.shots, fields.section("run").section(METRIC_BINS)),
        "optimizer": instantiate(cfg.optimizer, _convert_="all"),
        "scheduler": None if cfg.scheduler is None else instantiate(cfg.scheduler, _convert_="all"),
        "lds": None
        if cfg.method.lds is None
        else instantiate_with(cfg.method.lds, bins=bins_from_dict(fields.section("label_bins"))),
        "regularizers": make_regularizers(cfg),
        "output_fds": _output_fds(cfg, state),
        "mixup": None if cfg.method.mixup is None else instantiate_with(cfg.method.mixup),
        "target_offset": target.number("offset"),
        "target_scale": target.positive("scale"),
        "log1p": target_log1p(target),
        "label_dtype": target_dtype(target),
    }
    target_bins = bins_from_dict(fields.section("head_bins"))
    targets = target_bins.centers.repeat_interleave(torch.tensor(fields.integers("counts")))
    return Restored(arguments, state, whole.method.retrain is not None, targets, target_bins)


def _bins(state: dict[str, Tensor], key: str, node: DictConfig) -> LabelBins:
    edges = state[key]
    return LabelBins.from_edges(edges.tolist(), node.get("out_of_range", "clamp"), edges.dtype)


def _output_fds(cfg: DictConfig, state: dict[str, Tensor]) -> OutputFDS | None:
    node = cfg.method.output_fds
    if node is None:
        return None
    bins = _bins(state, "output_fds.fds.bins.edges", cfg.task.fds_bins)
    return OutputFDS(cast("FDS", instantiate_with(node.fds, num_features=1, bins=bins)), node.track)


def _metrics(shots: dict[str, Any], saved: Any) -> ShotMetrics:
    listed = saved.section("groups")
    groups = {name: listed.integers(name) for name in SHOTS}
    chosen = {name: shots[name] for name in ("metrics", "epsilon") if shots.get(name) is not None}
    return ShotMetrics(bins_from_dict(saved), groups=groups, **chosen)
