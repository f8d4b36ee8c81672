"""The model bundle of a finished run: from the parts of the run to the folder ``model/``."""

from __future__ import annotations

import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dir.bins import LabelBins
from dir.bundle.description import Description, bins_to_dict
from dir.bundle.fields import BundleError
from dir.bundle.saving import save
from dir.data.base import RegressionData
from dir.data.stsb import STSBTokens
from dir.data.texts import TextData
from dir.metrics import ShotMetrics, TargetMetrics
from dir.models import DistributionHead
from dir.models.target_units import TargetUnits
from dir.monitor import MONITORING
from dir.recipe.evaluate_file import describe_metric_bins
from dir.recipe.monitoring import summarise_run
from dir.recipe.parts import Parts, RunSettings
from dir.recipe.predictions import Results
from dir.recipe.restored import METRIC_BINS
from dir.recipe.run_info import commit


def save_network(folder: Path, parts: Parts, results: Results) -> None:
    """Save the trained network of a run; see :func:`_save`.

    Args:
        folder: the bundle.
        parts: parts of the run, with the weights that were evaluated and a fitted correction.
        results: of the splits val and test.
    """
    module = parts.module
    units = TargetUnits(module.target_offset.cpu(), module.target_scale.cpu(), module.log1p, module.label_dtype)
    tokenizer = None
    data = parts.data
    if isinstance(data, STSBTokens) or (isinstance(data, TextData) and data.form == "tokens"):
        from dir._sentence_encoder import load_tokenizer

        tokenizer = load_tokenizer(data.encoder)

    def describe() -> Description:
        common = _common(parts.settings, parts.data, results, units, module.metrics)
        bins: dict[str, Any] = {}
        if units.offset.ndim:
            common["target"]["targets"] = describe_targets(parts, units)
        else:
            bins = describe_bins(parts.bins, parts.counts, units)
        return Description(
            **common,
            **bins,
            architecture=parts.architecture,
            correction=None if parts.correction is None else parts.correction.to_dict(),
            prior=describe_prior(module.model.head, parts.settings.power_objective),
        )

    _save(folder, module.model, describe, tokenizer)


def describe_bins(bins: LabelBins, counts: Tensor, units: TargetUnits) -> dict[str, Any]:
    """Return the bins of a target, in the units of the head and in raw units, and their training labels."""
    return {
        "head_bins": bins_to_dict(units.bins(bins)),
        "label_bins": bins_to_dict(bins),
        "counts": [int(count) for count in counts.tolist()],
    }


def describe_targets(parts: Parts, units: TargetUnits) -> list[dict[str, Any]]:
    """Return name, offset, scale and bins of each of several targets; ``units`` has [K] offsets and scales."""
    listed = []
    columns = zip(parts.data.targets, parts.bins_by_target, parts.counts_by_target, strict=True)
    for k, (name, bins, counts) in enumerate(columns):
        own = units._replace(offset=units.offset[k], scale=units.scale[k])
        scales = {"name": name, "offset": float(own.offset), "scale": float(own.scale)}
        listed.append(scales | describe_bins(bins, counts, own))
    return listed


def describe_prior(head: nn.Module, objective: str | None) -> dict[str, Any] | None:
    """Return power, temperature and point of a head with a label prior as plain values; None for other heads."""
    if not isinstance(head, DistributionHead):
        return None
    temperature = 1.0 if head.temperature is None else float(head.temperature)
    # The buffers are float32: 0.7 would read 0.699999988079071.
    return {
        "power": round(float(head.power), 6),
        "temperature": round(temperature, 6),
        "point": head.point,
        "objective": objective,
    }


def save_estimator(
    folder: Path,
    estimator: Any,
    data: RegressionData,
    settings: RunSettings,
    results: Results,
    metrics: ShotMetrics,
) -> None:
    """Save the fitted scikit-learn regressor of a run; see :func:`_save`."""
    _save(folder, estimator, lambda: Description(**_common(settings, data, results, None, metrics)))


def _save(folder: Path, model: Any, describe: Any, tokenizer: Any = None) -> None:
    """Save a bundle, or say why the run leaves none: its results are worth keeping without."""
    try:
        save(folder, model, describe(), tokenizer)
    except BundleError as error:
        print(f"the run leaves no model bundle: {error}", file=sys.stderr)


def _common(
    settings: RunSettings,
    data: RegressionData,
    results: Results,
    units: TargetUnits | None,
    metrics: ShotMetrics | TargetMetrics,
) -> dict[str, Any]:
    """Return the sections that all bundles have; ``units`` is None for an estimator, which predicts raw labels.

    With several targets, dir-monitor and an evaluation by the bundle alone have nothing to read, and scales are those
    of :func:`describe_targets`.
    """
    encoding = data.encoding()
    scales: dict[str, float] = {}
    saved: dict[str, Any] = {}
    if isinstance(metrics, ShotMetrics):
        metric_bins = describe_metric_bins(metrics)
        val = results.predictions["val"]
        # The bundle predicts without the cost of the run.
        reference = summarise_run(data, val.labels, val.middles, metric_bins)
        saved = {METRIC_BINS: metric_bins, MONITORING: None if reference is None else reference.to_dict()}
        scales = {
            "offset": 0.0 if units is None else float(units.offset),
            "scale": 1.0 if units is None else float(units.scale),
        }
    transform = {"transform": "log1p"} if units is not None and units.log1p else {}
    dtype = {"dtype": "float64"} if data.label_dtype == torch.float64 else {}
    packages = ("torch", "numpy", "pandas", "scikit-learn", "transformers")
    return {
        "input": encoding,
        "target": {
            "name": str(encoding.get("target", settings.unit) if scales else settings.unit),
            "unit": str(settings.unit),
        }
        | scales
        | transform
        | dtype,
        "shots": settings.shots,
        "batch_size": data.eval_batch_size,
        "run": {
            "name": settings.name,
            "seed": settings.seed,
            "commit": commit(),
            "versions": {"python": platform.python_version(), "torch": torch.__version__}
            | {name: version for name in packages[1:] if (version := _version(name))},
            "data": data.fingerprint(),
            "metrics": results.metrics,
        }
        | saved,
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
