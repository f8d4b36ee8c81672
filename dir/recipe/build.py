"""Builds what a run needs from its config, before anything is trained or written."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from dir.bins import LabelBins
from dir.data.base import SPLITS, RegressionData
from dir.data.protocols import Protocol
from dir.fds import FDS
from dir.fds.output import OutputFDS
from dir.losses.base import Regularizer
from dir.metrics import ShotMetrics
from dir.models.regressor import Regressor
from dir.posthoc import Correction
from dir.recipe.compatibility import check_parts
from dir.recipe.module import RegressionModule


@dataclass(frozen=True)
class Parts:
    """What :func:`build` makes: the data, the module that trains on it, and the bins and counts of its labels.

    ``correction`` is fitted on the validation predictions by the evaluation. ``architecture`` holds the settings
    that encoder and head were built from, for the model bundle.
    """

    data: RegressionData
    module: RegressionModule
    bins: LabelBins
    counts: Tensor
    correction: Correction | None = None
    architecture: dict[str, Any] = field(default_factory=dict)


def make(node: Any, **kwargs: Any) -> Any:
    """Instantiates a config node with further arguments.

    Those go past Hydra, which would copy them: tables of word vectors are large.
    """
    if node.get("_partial_", False):
        return instantiate(node, _convert_="all")(**kwargs)
    return instantiate(node, _convert_="all", _partial_=True)(**kwargs)


def make_bins(node: DictConfig, labels: Tensor) -> LabelBins:
    """The label bins of a task; a ``_partial_`` node is called with the training labels."""
    bins = make(node, labels=labels) if node.get("_partial_", False) else make(node)
    return cast("LabelBins", bins)


def bins_of_all_labels(bins: LabelBins, labels: Tensor) -> LabelBins:
    """The bins of the shot metrics: the training bins, and one more on each side that labels lie beyond.

    LDS and FDS clamp such a label to the nearest bin. To the metrics it is zero-shot: nothing like it was trained on.
    """
    edges = bins.edges.tolist()
    low, high = labels.min().item(), labels.max().item()
    if low < edges[0]:
        edges.insert(0, low)
    if high > edges[-1]:
        # The top edge belongs to the last training bin.
        edges[-1] = float(np.nextafter(np.float32(edges[-1]), np.float32(np.inf)))
        if high > edges[-1]:
            edges.append(high)
    return LabelBins.from_edges(edges)


def standardisation(cfg: DictConfig, labels: Tensor) -> tuple[float, float]:
    """Offset and scale of the criterion's target: as configured, or mean and deviation of the train labels."""
    offset, scale = cfg.task.target_offset, cfg.task.target_scale
    wide = labels.double()
    return (
        float(wide.mean()) if offset is None else float(offset),
        float(wide.std()) if scale is None else float(scale),
    )


def apply_protocol(protocol: Protocol, data: RegressionData, bins: LabelBins) -> None:
    """Leaves the training and validation rows that the protocol keeps."""
    train, val = data.labels("train"), data.labels("val")
    data.restrict("val", torch.nonzero(protocol.keep(val, train)).flatten())
    data.restrict("train", protocol.train_rows(train, bins))


def make_regularizers(cfg: DictConfig) -> list[Regularizer]:
    """The method's own regulariser and the one that ``+regularizer=NAME`` adds."""
    nodes = [node for node in (cfg.method.regularizer, cfg.regularizer) if node is not None]
    return [make(node) for node in nodes]


def in_target_units(bins: LabelBins, offset: float, scale: float) -> LabelBins:
    """The same bins for labels that went through the criterion's ``(label - offset) / scale``.

    Edges take the labels' own arithmetic, which is monotone: a label on an edge stays on it.
    """
    if not scale > 0:
        raise ValueError(f"target_scale: expected a positive number, got {scale}")
    edges = (bins.edges.to(bins.dtype) - torch.tensor(float(offset))) / torch.tensor(float(scale))
    return LabelBins.from_edges(edges, bins.out_of_range, bins.dtype)


def build_data(cfg: DictConfig) -> tuple[RegressionData, LabelBins, Tensor, ShotMetrics]:
    """The data with its training rows as the method wants them, the bins, the training labels and the metrics.

    The labels are those before a method resampled the rows: bins, shot groups and the target's standardisation are
    the same for every method.
    """
    data: RegressionData = make(cfg.data)
    data.setup()
    data.set_views(cfg.method.views)
    # Bins span all training labels, those that a protocol takes away too.
    bins = make_bins(cfg.task.bins, data.labels("train"))
    if cfg.protocol is not None:
        apply_protocol(make(cfg.protocol), data, bins)
    train = data.labels("train")
    seen = bins_of_all_labels(bins, torch.cat([data.labels(split) for split in SPLITS]))
    if cfg.method.resample is not None:
        data.resample(make(cfg.method.resample))
    return data, bins, train, ShotMetrics(seen, seen.counts(train), **instantiate(cfg.task.shots, _convert_="all"))


def last_stage(cfg: DictConfig) -> DictConfig:
    """The config of what a run evaluates: of a run in two stages the second, else the config itself.

    The second stage trains the head, with the loss and the weights of the method. What shapes features was of the
    first.
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


def build(cfg: DictConfig) -> Parts:
    """Data, bins, LDS fitted on the training labels, FDS, model and loss of one run, or of its last stage.

    Raises:
        FileNotFoundError: if the data is not there; says what to fetch and where to put it.
        ValueError: for values that a part refuses.
    """
    cfg = last_stage(cfg)
    data, bins, train, metrics = build_data(cfg)
    # What a method resampled is what its weights and its loss have to go by.
    trained = data.labels("train")
    lds: nn.Module | None = None if cfg.method.lds is None else make(cfg.method.lds, bins=bins).fit(trained)
    encoder_args = data.encoder_args()
    encoder: nn.Module = make(cfg.model.encoder, **encoder_args)
    features = cast("int", encoder.num_features)
    fds: FDS | None = None
    if cfg.method.fds is not None:
        fds = make(cfg.method.fds, num_features=features, bins=make_bins(cfg.task.fds_bins, train))
    output_fds: OutputFDS | None = None
    if cfg.method.output_fds is not None:
        one = make(cfg.method.output_fds.fds, num_features=1, bins=make_bins(cfg.task.fds_bins, train))
        output_fds = OutputFDS(one, cfg.method.output_fds.track)
    offset, scale = standardisation(cfg, train)
    target_bins = in_target_units(bins, offset, scale)
    module = RegressionModule(
        model=Regressor(encoder, make(cfg.method.head, num_features=features, bins=target_bins), fds),
        criterion=make(cfg.method.loss),
        metrics=metrics,
        optimizer=instantiate(cfg.optimizer, _convert_="all"),
        scheduler=None if cfg.scheduler is None else instantiate(cfg.scheduler, _convert_="all"),
        lds=lds,
        regularizers=make_regularizers(cfg),
        output_fds=output_fds,
        mixup=None if cfg.method.mixup is None else make(cfg.method.mixup),
        target_offset=offset,
        target_scale=scale,
    )
    module.fit_targets(trained, target_bins)
    if cfg.method.retrain is not None:
        module.model.freeze_encoder()
    check_parts(cfg, module, data)
    correction = None if cfg.method.posthoc is None else Correction(cfg.method.posthoc)
    encoder_node: Any = OmegaConf.to_container(cfg.model.encoder, resolve=True)
    architecture: dict[str, Any] = {
        "encoder": dict(encoder_node) | encoder_args,
        "head": OmegaConf.to_container(cfg.method.head, resolve=True),
    }
    return Parts(data, module, bins, bins.counts(train), correction, architecture)
