"""Builds the data, the module and the fitted parts of a run from its config, before anything is written."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from dir._checks import message
from dir.bins import LabelBins
from dir.data.arrays import automatic_bins
from dir.data.base import RegressionData
from dir.data.label_chunks import LabelChunks
from dir.data.protocols import Protocol
from dir.fds import FDS
from dir.fds.output import OutputFDS
from dir.losses.targets import for_targets
from dir.metrics import ShotMetrics, TargetMetrics
from dir.models.members import MemberHead, MemberLoss, attach_head
from dir.models.regressor import Regressor
from dir.models.target_units import TargetUnits, log_labels
from dir.models.targets import TargetFDS, TargetHeads
from dir.posthoc import Correction
from dir.recipe.by_target import joined, joined_units
from dir.recipe.cost import TRAIN_ON_COST, cost_loss_of, make_cost
from dir.recipe.module import RegressionModule
from dir.recipe.nodes import instantiate_with, last_stage, make_regularizers
from dir.recipe.noise import apply_noise
from dir.recipe.parts import Parts, RunSettings, logger_of
from dir.recipe.power import check_power_objective
from dir.recipe.row_weights import importance_scale
from dir.recipe.trial_forward import check_log_target, check_parts
from dir.reweighter import Reweighter, TargetWeights

# Sets a data module up, by its own split or by the split of an earlier run.
SetUp = Callable[[RegressionData], None]


def make_bins(node: DictConfig, labels: Tensor | LabelChunks) -> LabelBins:
    """Return the label bins of a task; a target with an argument ``labels`` gets the training labels."""
    target = get_object(node["_target_"])
    if isinstance(labels, LabelChunks):
        labels = labels.ends() if target is automatic_bins else labels.all()
    takes_labels = "labels" in inspect.signature(target).parameters
    bins: LabelBins = instantiate_with(node, labels=labels) if takes_labels else instantiate_with(node)
    if labels.dtype == torch.float64 and bins.dtype != torch.float64:
        advice = "Remove the setting, or shift the labels in the file by a constant."
        problem = f"the labels need float64, and bins made by {node['_target_']} compare labels in"
        raise ValueError(message("task.bins", problem, str(bins.dtype), advice))
    return bins


def bins_of_all_labels(bins: LabelBins, labels: Tensor) -> LabelBins:
    """Return the bins of the shot metrics: the training bins, and one more on each side beyond which labels lie.

    LDS and FDS clamp a label outside the training bins to the nearest bin. The metrics count such a label as
    zero-shot, because no training label is near.
    """
    edges = bins.edges.tolist()
    low, high = labels.min().item(), labels.max().item()
    if low < edges[0]:
        edges.insert(0, low)
    if high > edges[-1]:
        # The top edge belongs to the last training bin.
        kind = np.float64 if bins.dtype == torch.float64 else np.float32
        edges[-1] = float(np.nextafter(kind(edges[-1]), kind(np.inf)))
        if high > edges[-1]:
            edges.append(high)
    return LabelBins.from_edges(edges, dtype=bins.dtype)


def target_units(
    offset: float | None, scale: float | None, labels: LabelChunks, log1p: bool, dtype: torch.dtype
) -> TargetUnits:
    """Return the map between raw labels and the criterion's targets.

    Args:
        offset, scale: settings of the task; a value of None is the mean, or the standard deviation, of the training
            labels (of ``log(1 + label)`` if ``log1p`` is true).
        labels: training labels.
        log1p: whether the criterion sees the logarithm of one plus the label.
        dtype: type of raw labels and predictions.
    """
    mean, deviation = (0.0, 1.0)
    if offset is None or scale is None:
        mean, deviation = labels.moments(log_labels if log1p else None)
    center = torch.tensor(float(mean if offset is None else offset), dtype=dtype)
    spread = torch.tensor(float(deviation if scale is None else scale), dtype=dtype)
    return TargetUnits(center, spread, log1p, dtype)


def apply_protocol(protocol: Protocol, data: RegressionData, bins: LabelBins) -> None:
    """Remove the training and validation rows that the protocol does not keep."""
    train, val = data.labels("train"), data.labels("val")
    data.restrict("val", torch.nonzero(protocol.keep(val, train)).flatten())
    data.restrict("train", protocol.train_rows(train, bins))


def units_of(cfg: DictConfig, data: RegressionData, train: Sequence[LabelChunks]) -> list[TargetUnits]:
    """Return the units of each target, by its training labels before the method resamples them."""
    settings = cfg.task.target_offset, cfg.task.target_scale
    return [target_units(*settings, chunks, data.log1p, data.label_dtype) for chunks in train]


def build_data(
    cfg: DictConfig, set_up: SetUp = RegressionData.setup
) -> tuple[RegressionData, tuple[LabelBins, ...], LabelChunks, ShotMetrics | TargetMetrics]:
    """Return the data with the training rows of the method, the bins, the training labels and the metrics.

    The labels are those before the method resamples the rows, so that bins, shot groups and the standardisation of
    the target are the same for every method. There are bins for each target.
    """
    data: RegressionData = instantiate_with(cfg.data)
    set_up(data)
    data.set_views(cfg.method.views)
    # Bins span all training labels, including the ones that a protocol removes.
    bins = tuple(make_bins(cfg.task.bins, chunks) for chunks in by_target(data, data.label_chunks("train")))
    if cfg.protocol is not None:
        apply_protocol(instantiate_with(cfg.protocol), data, bins[0])
    train = data.label_chunks("train")
    metrics = make_metrics(cfg, data, bins, train)
    if cfg.get("noise") is not None:
        apply_noise(cfg.noise, data, cast("ShotMetrics", metrics))
    if cfg.method.resample is not None:
        data.resample(instantiate_with(cfg.method.resample))
    return data, bins, train, metrics


def by_target(data: RegressionData, labels: LabelChunks) -> list[LabelChunks]:
    """Return the labels of each target of the data."""
    return labels.by_target(len(data.targets))


def make_metrics(
    cfg: DictConfig, data: RegressionData, bins: Sequence[LabelBins], train: LabelChunks
) -> ShotMetrics | TargetMetrics:
    """Return the shot metrics of the labels of all open splits, in one object for several targets."""
    splits = [by_target(data, data.label_chunks(split)) for split in data.splits]
    shots = instantiate(cfg.task.shots, _convert_="all")
    made = []
    for own, of_train, *of_splits in zip(bins, by_target(data, train), *splits, strict=True):
        seen = bins_of_all_labels(own, torch.cat([chunks.ends() for chunks in of_splits]))
        made.append(ShotMetrics(seen, of_train.counts(seen), **shots))
    several = len(made) > 1
    scales = [float(units.scale) for units in units_of(cfg, data, by_target(data, train))] if several else []
    return joined(made, lambda parts: TargetMetrics(parts, data.targets, scales))


def make_encoder(node: DictConfig, arguments: dict[str, Any], data: str) -> nn.Module:
    """Return the encoder of a run.

    Args:
        node: settings of the encoder.
        arguments: further arguments, which the data gives, such as the number of columns.
        data: class of the data, for the error message.

    Raises:
        ValueError: the encoder is made for other data.
    """
    parameters = inspect.signature(get_object(node["_target_"])).parameters
    unknown = [name for name in arguments if name not in parameters]
    if unknown and not any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
        problem = f"{node['_target_']} does not take {', '.join(unknown)}, which {data} gives to its encoder"
        fit = "mlp for tables, conv or resnet for images, unet or resnet_maps for maps"
        advice = f"Choose the encoder of such data: {fit}."
        raise ValueError(message("model", problem, advice=advice))
    given = {*node, *arguments}
    lacking = [name for name, one in parameters.items() if one.default is one.empty and name not in given]
    if lacking and all(parameters[name].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD for name in lacking):
        problem = f"{node['_target_']} needs {', '.join(lacking)}, which {data} does not give to its encoder"
        raise ValueError(message("model", problem, advice="Choose the encoder of such data."))
    encoder: nn.Module = instantiate_with(node, **arguments)
    return encoder


def encoder_arguments(node: DictConfig, data: RegressionData) -> dict[str, Any]:
    """Return the arguments of the encoder that the data decides.

    An encoder class with ``fit_arguments(inputs, **settings)`` also gets arguments that the training rows decide,
    such as the bin edges of :class:`dir.models.TabMEncoder`. A method that resamples has resampled the rows before.
    """
    arguments = data.encoder_args()
    fit = getattr(get_object(node["_target_"]), "fit_arguments", None)
    if fit is None:
        return arguments
    settings = {str(key): value for key, value in node.items() if not str(key).startswith("_")}
    # The training rows decide arguments about numbers; categories that the encoder embeds come beside the numbers.
    codes = "category_sizes" in arguments
    inputs = [batch[0] if codes else batch for batch, _ in data.whole("train")]
    if not all(isinstance(part, Tensor) and part.ndim == 2 for part in inputs):
        advice = "Use experiment=tabular, or another model."
        raise ValueError(message("model.encoder", "expected rows of numbers", node["_target_"], advice))
    fitted: dict[str, Any] = fit(torch.cat(inputs), **settings)
    return arguments | fitted


def build(cfg: DictConfig, set_up: SetUp = RegressionData.setup) -> Parts:
    """Build data, bins, fitted LDS, FDS, model and loss of a run; of a run in two stages, those of the second.

    Args:
        cfg: composed config, see configs/train.yaml.
        set_up: sets the data module up; an evaluation restores the split of the run here, a search closes the test
            rows.

    Raises:
        FileNotFoundError: if the data is not found; the message says where to get it and where to put it.
        ValueError: if a part refuses its settings.
    """
    cfg = last_stage(cfg)
    data, bins, train, metrics = build_data(cfg, set_up)
    before = by_target(data, train)
    # The weights and the loss of a method that resamples are fitted on the resampled labels.
    trained = data.label_chunks("train")
    lds: Reweighter | TargetWeights | None = None
    if cfg.method.lds is not None:
        pairs = zip(bins, by_target(data, trained), strict=True)
        lds = joined([chunks.fit(instantiate_with(cfg.method.lds, bins=own)) for own, chunks in pairs], TargetWeights)
    encoder_args = encoder_arguments(cfg.model.encoder, data)
    encoder = make_encoder(cfg.model.encoder, encoder_args, type(data).__name__)
    features = cast("int", encoder.num_features)
    fds: FDS | TargetFDS | None = None
    if cfg.method.fds is not None:
        own_bins = [make_bins(cfg.task.fds_bins, chunks) for chunks in before]
        layers = [instantiate_with(cfg.method.fds, num_features=features, bins=own) for own in own_bins]
        fds = joined(layers, TargetFDS)
    output_fds: OutputFDS | None = None
    if cfg.method.output_fds is not None:
        one = instantiate_with(cfg.method.output_fds.fds, num_features=1, bins=make_bins(cfg.task.fds_bins, train))
        output_fds = OutputFDS(one, cfg.method.output_fds.track)
    units_by_target = units_of(cfg, data, before)
    units = joined_units(units_by_target)
    target_bins = [unit.bins(own) for unit, own in zip(units_by_target, bins, strict=True)]
    heads = [attach_head(encoder, partial(instantiate_with, cfg.method.head, bins=own)) for own in target_bins]
    cost = make_cost(cfg, trained.first(2))
    criteria = [
        cost_loss_of(cost, unit, trained.all())
        if cost and cfg.method.loss == TRAIN_ON_COST
        else instantiate_with(cfg.method.loss)
        for unit in units_by_target
    ]
    if isinstance(heads[0], MemberHead):
        if len(heads) > 1 and getattr(criteria[0], "takes_targets", False):
            problem = f"{type(criteria[0]).__name__} takes all targets at once, which an ensemble of members cannot"
            raise ValueError(message("method.loss", problem, data.targets, "Choose model=mlp or another method."))
        criteria = [MemberLoss(criterion) for criterion in criteria]
    importance = data.importance("train")
    weights = None if importance is None or lds is None else lds(trained.all())
    module = RegressionModule(
        model=Regressor(encoder, joined(heads, TargetHeads), fds),
        criterion=for_targets(criteria),
        metrics=metrics,
        optimizer=instantiate(cfg.optimizer, _convert_="all"),
        scheduler=None if cfg.scheduler is None else instantiate(cfg.scheduler, _convert_="all"),
        lds=lds,
        regularizers=make_regularizers(cfg),
        output_fds=output_fds,
        mixup=None if cfg.method.mixup is None else instantiate_with(cfg.method.mixup),
        target_offset=units.offset.tolist(),
        target_scale=units.scale.tolist(),
        log1p=units.log1p,
        label_dtype=units.dtype,
        cost=cost,
        importance_scale=importance_scale(importance, weights),
    )
    if units.log1p:
        check_log_target(module, trained.all())
    if module.fitted_parts:
        module.fit_targets(trained.all(), joined(target_bins, list))
    if cfg.method.retrain is not None:
        module.model.freeze_encoder()
    check_parts(cfg, module, data)
    if cfg.method.power_objective is not None:
        check_power_objective(cfg.method.power_objective, module)
    correction = None if cfg.method.posthoc is None else Correction(cfg.method.posthoc)
    encoder_node: Any = OmegaConf.to_container(cfg.model.encoder, resolve=True)
    architecture: dict[str, Any] = {
        "encoder": dict(encoder_node) | encoder_args,
        "head": OmegaConf.to_container(cfg.method.head, resolve=True),
    }
    return Parts(
        data=data,
        module=module,
        bins_by_target=bins,
        counts_by_target=tuple(chunks.counts(own) for own, chunks in zip(bins, before, strict=True)),
        settings=RunSettings.from_config(cfg),
        make_trainer=instantiate(cfg.trainer, _convert_="all", _partial_=True),
        make_logger=logger_of(cfg),
        correction=correction,
        architecture=architecture,
    )
