"""The figures in the log of a run (TensorBoard, MLflow, W&B): at its start, every N epochs, and at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer

from dir.fds import FDS
from dir.figures import (
    FDSHistory,
    bin_errors,
    coverage,
    density_figure,
    error_density_figure,
    fds_bins_figure,
    fds_epochs_figure,
    fds_statistics,
    power_figure,
    reliability_figure,
    residual_figure,
    similarity_figure,
    weights_figure,
)
from dir.lds import LDS
from dir.metrics import SHOTS, ShotMetrics
from dir.recipe.parts import Parts
from dir.recipe.predictions import Predictions, Results
from dir.reweighter import Reweighter

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dir.recipe.module import RegressionModule
    from dir.recipe.run_callbacks import EndRecipeEpoch
    from dir.recipe.tracking.run_log import RunLog


def start_figures(parts: Parts) -> dict[str, Figure]:
    """Return the figures of the training labels: their density, and the weights of the method."""
    lds, metrics = parts.module.lds, one_target(parts)
    density = lds if isinstance(lds, LDS) else effective(parts)
    shots = shot_names(metrics, parts.bins.centers)
    figures = {"label density": density_figure(parts.bins, density, parts.settings.unit, shots)}
    if isinstance(lds, Reweighter):
        figures["weights"] = weights_figure(lds, parts.bins, parts.counts, parts.settings.unit)
    return figures


def one_target(parts: Parts) -> ShotMetrics:
    """Return the metrics of a run with one target; a run with several draws no figures."""
    assert isinstance(parts.module.metrics, ShotMetrics)
    return parts.module.metrics


def effective(parts: Parts) -> LDS:
    """Return an LDS that holds the effective density of the training labels, with the kernel of the task."""
    return LDS(parts.bins, **parts.settings.density_kernel).fit_counts(parts.counts)


def shot_names(metrics: ShotMetrics, labels: torch.Tensor) -> list[str]:
    """Return the shot group of each label; "" for a label in no group."""
    members = metrics.members.cpu()[1:, metrics.bins(labels.to(metrics.device)).cpu()]
    return [next((name for name, inside in zip(SHOTS, column, strict=True) if inside), "") for column in members.T]


def fds_figures(fds: FDS, unit: str) -> dict[str, Figure]:
    """Return the figures of the statistics of an FDS: similarity (of two features or more) and its bins."""
    figures = {"bins": fds_bins_figure(fds, unit)}
    if fds.num_features > 1:
        figures["feature similarity"] = similarity_figure(*fds_statistics(fds), unit=unit)
    return figures


def end_figures(parts: Parts, results: Results, histories: dict[str, FDSHistory]) -> dict[str, Figure]:
    """Return the figures of a trained run.

    Args:
        parts: parts of the run, whose module holds the best epoch.
        results: predictions of the splits.
        histories: diagnostics of each FDS over the epochs, by the prefix of its scalars.
    """
    unit, test = parts.settings.unit, results.predictions["test"]
    labels, predictions = test.labels.double().numpy(), test.predictions.double().numpy()
    edges = parts.bins.edges.double().cpu().numpy()
    figures = {
        "test/error and density": error_figure(parts, bin_errors(labels, predictions, edges).mae, "test"),
        "test/residuals": residual_figure(labels, predictions, coarse(edges), unit),
    }
    intervals = coverages(one_target(parts), test)
    if intervals:
        rows = {group: int(values["n"] or 0) for group, values in results.metrics["test"].items()}
        figures["test/reliability of intervals"] = reliability_figure(intervals, rows=rows)
    if "power" in results.fitted:
        figures["validation curve of the label prior"] = power_figure(results.fitted["power"], unit)
    for prefix, history in histories.items():
        if history.values:
            figures[f"{prefix}/epochs"] = fds_epochs_figure(history.values)
        if bool((history.fds.num_samples > 0).any()):
            found = fds_figures(history.fds, unit)
            figures |= {f"{prefix}/{name}, best epoch": figure for name, figure in found.items()}
    return figures


def error_figure(parts: Parts, mae: np.ndarray, name: str) -> Figure:
    """Return the figure of the errors per training bin [B] and of the density of the training labels."""
    edges, counts, density = (
        t.double().cpu().numpy() for t in (parts.bins.edges, parts.counts, effective(parts).density)
    )
    return error_density_figure({name: mae}, edges, counts, density, parts.settings.unit)


def coarse(edges: np.ndarray, most: int = 40) -> np.ndarray:
    """Return every k-th edge, so that at most ``most`` bins are left; the last edge stays.

    Example:
        >>> coarse(np.arange(8.0), most=3).tolist()
        [0.0, 3.0, 6.0, 7.0]
    """
    step = -(-(len(edges) - 1) // most)
    return np.append(edges[:-1:step], edges[-1])


def coverages(metrics: ShotMetrics, found: Predictions) -> dict[str, np.ndarray]:
    """Return the coverage of normal intervals by shot group; nothing without finite variances above 0."""
    if found.variances is None or not bool((torch.isfinite(found.variances) & (found.variances > 0)).all()):
        return {}
    index = metrics.bins(found.labels.to(metrics.device)).cpu()
    labels, points, variances = (part.double().numpy() for part in (found.labels, found.middles, found.variances))
    members = zip(("all", *SHOTS), metrics.members.cpu()[:, index].numpy(), strict=True)
    return {group: coverage(labels[rows], points[rows], variances[rows]) for group, rows in members}


class EveryNEpochs(Callback):
    """Write figures every N epochs: the validation errors by label, and the statistics of each FDS.

    Args:
        every: N.
        parts: parts of the run.
        ends: the callback that closes the epochs of FDS. It comes before this callback.
        log: log of the run.
    """

    def __init__(self, every: int, parts: Parts, ends: EndRecipeEpoch, log: RunLog) -> None:
        self.every, self.parts, self.ends, self.run_log = every, parts, ends, log

    def _now(self, trainer: Trainer) -> bool:
        epoch = trainer.current_epoch + 1
        return trainer.is_global_zero and not trainer.sanity_checking and epoch % self.every == 0

    # Lightning calls the hook of the callbacks before that of the module, which resets the metrics.
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._now(trainer):
            metrics: Any = cast("RegressionModule", pl_module).metrics
            # The metrics may have one more bin on each side, see build_data().
            index = metrics.bins(self.parts.bins.centers.to(metrics.device))
            mae = (metrics.sums[0, index] / metrics.tallies[0, index]).double().cpu()
            name = "validation" if trainer.world_size == 1 else "validation rows of the first process"
            figure = error_figure(self.parts, mae.numpy(), name)
            self.run_log.figures({"validation/error and density": figure}, trainer.global_step)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._now(trainer):
            for prefix, history in self.ends.histories.items():
                found = fds_figures(history.fds, self.parts.settings.unit)
                self.run_log.figures({f"{prefix}/{name}": one for name, one in found.items()}, trainer.global_step)
