"""The figures of a section of a report, each with its caption. A figure without data is left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dir._archives import npz_names, read_npz
from dir.compare.forest import can_draw, forest_figure
from dir.compare.groups import GROUPS
from dir.compare.html.figures import error_by_label, frequent_and_rare, method_id, prediction_maps
from dir.compare.html.run_state import by_epoch, fds_of, logged_values, training_labels
from dir.compare.html.series import folder_of, label_series
from dir.compare.html.svg import svg_text
from dir.compare.runs import Run
from dir.compare.statistics import Comparison
from dir.compare.tradeoff import read_saved
from dir.figures import (
    bin_errors,
    coverage,
    error_density_figure,
    fds_epochs_figure,
    power_figure,
    reliability_figure,
    similarity_figure,
    training_figure,
)

Drawing = tuple[str, str]
# More lines in a figure are not told apart; more figures of one kind make a long page.
_MOST_LINES, _MOST_FIGURES = 8, 3
_FDS = ("fds/clipped", "fds/mean_gap", "fds/var_gap", "fds/mean_drift", "fds/var_drift")


def drawings(runs: Sequence[Run], one: Comparison, unit: str, prefix: str) -> list[Drawing]:
    """Return (SVG, caption) of the figures of one experiment.

    Args:
        runs: its runs.
        one: their comparison.
        unit: unit of the label.
        prefix: unique on the page, for the identities of the SVG.
    """
    found = list(_of_tables(one, prefix))
    if one.split == "test":
        found += _along_the_label(runs, one, unit, prefix)
        found += _of_folders(runs, one, unit, prefix)
    return found


def _of_tables(one: Comparison, prefix: str) -> Iterator[Drawing]:
    labels = [row.label for row in one.rows]
    filled = [group for group in GROUPS[1:] if one.sizes.get(group, (0, 0))[0] > 0]
    if len(filled) > 1 and "mae" in one.metrics and len(one.rows) > 1:
        yield (
            frequent_and_rare(one, labels, (filled[0], filled[-1]), "mae", prefix),
            "Each point is a method, with its standard errors over the seeds. Lower left is better for both.",
        )
    if can_draw(one, one.metrics[0]):
        figure = forest_figure(one, one.metrics[0])
        for axes in figure.axes:
            for line in axes.lines:
                if line.get_gid() is not None:
                    line.set_gid(f"forest--{method_id(str(line.get_gid()), labels)}")
        yield (
            svg_text(figure, f"{prefix}-forest"),
            f"Paired difference of {one.metrics[0]} to {one.baseline} with its 95 % interval. An interval that holds "
            "0 is grey: chance alone may have made the difference.",
        )


def _along_the_label(runs: Sequence[Run], one: Comparison, unit: str, prefix: str) -> Iterator[Drawing]:
    along, labels = label_series(runs), [row.label for row in one.rows]
    if along is None:
        return
    yield (
        error_by_label(along, labels, unit, "mae", prefix),
        "Error along the label, over all seeds. The bars behind the lines are the test rows of "
        f"{along.series[0].label}, darker where the training has more samples of the label.",
    )
    yield (
        error_by_label(along, labels, unit, "bias", prefix),
        "Bias along the label. Above 0 the predictions are too high. Rare labels are often predicted towards the "
        "frequent labels.",
    )
    more = " The first six methods are shown." if len(along.series) > 6 else ""
    yield (
        prediction_maps(along, unit, prefix),
        "Where the predictions of each label lie: brighter is more frequent, a share of 0.5 is brightest. On the "
        f"dashed line predictions equal labels.{more}",
    )


def _of_folders(runs: Sequence[Run], one: Comparison, unit: str, prefix: str) -> Iterator[Drawing]:
    folders: dict[str, list[Path]] = {}
    for run in runs:
        folder = folder_of(run)
        if folder is not None:
            folders.setdefault(run.label, []).append(folder)
    if not folders:
        return
    labels = [row.label for row in one.rows]
    yield from _error_density(folders, labels, unit, prefix)
    yield from _reliability(folders, prefix)
    yield from _powers(runs, unit, prefix)
    yield from _training(folders, labels, prefix)
    yield from _fds(folders, unit, prefix)


def _shown(what: Sequence[str] | Mapping[str, Any], most: int) -> str:
    return f" The first {most} of {len(what)} methods are shown." if len(what) > most else ""


def _error_density(
    folders: Mapping[str, Sequence[Path]], labels: Sequence[str], unit: str, prefix: str
) -> Iterator[Drawing]:
    first = next((found for paths in folders.values() for path in paths if (found := training_labels(path))), None)
    if first is None:
        return
    errors: dict[str, NDArray[Any]] = {}
    for label, paths in folders.items():
        saved = [read_npz(path / "predictions.npz") for path in paths if (path / "predictions.npz").is_file()]
        if saved and len(errors) < _MOST_LINES:
            truth, guess = (np.concatenate([arrays[name] for arrays in saved]) for name in ("label", "prediction"))
            errors[label] = bin_errors(truth, guess, first.edges).mae
    if errors:
        figure = error_density_figure(errors, first.edges, first.counts, first.density, unit)
        for axes in figure.axes:
            for line in axes.lines:
                name = str(line.get_label()).rpartition(": correlation")[0]
                line.set_gid(f"density--{method_id(name, labels)}")
        yield (
            svg_text(figure, f"{prefix}-density"),
            "Error and density of the training labels of one run. Left: counts per bin. Right: effective density, "
            "under the published window of LDS (size 5, sigma 2). A correlation closer to -1 at the right says that "
            f"neighbouring labels share what the network learns.{_shown(folders, _MOST_LINES)}",
        )


def _reliability(folders: Mapping[str, Sequence[Path]], prefix: str) -> Iterator[Drawing]:
    for number, (label, paths) in enumerate(folders.items()):
        path = paths[0] / "predictions.npz"
        if not path.is_file() or "variance" not in npz_names(path):
            continue
        saved = read_npz(path)
        label_, point, variance = (saved[name].astype(np.float64) for name in ("label", "prediction", "variance"))
        kept = read_saved(paths[0]) if "log_mass" in saved else None
        if kept is not None and kept.decides:
            point = kept.predict("test", kept.power)  # the variance lies about it, and not about the decision
        if not (np.isfinite(variance) & (variance > 0)).all():
            continue
        rows = {"all": np.ones(len(label_), dtype=bool)}
        rows |= {group: saved["shot"] == group for group in ("many", "median", "few", "zero")}
        shares = {group: coverage(label_[at], point[at], variance[at]) for group, at in rows.items() if at.any()}
        figure = reliability_figure(shares, rows={group: int(at.sum()) for group, at in rows.items()})
        yield (
            svg_text(figure, f"{prefix}-reliability{number}"),
            f"Intervals of {label}, {paths[0].name}: share of test labels in the central normal interval of each "
            "level. Below the line the intervals are too narrow, above it too wide.",
        )


def _powers(runs: Sequence[Run], unit: str, prefix: str) -> Iterator[Drawing]:
    shown: set[str] = set()
    for run in runs:
        info = run.content.get("run")
        fitted = info.get("power") if isinstance(info, dict) else None
        if not isinstance(fitted, dict) or not {"tried", "mae", "value", "objective"} <= set(fitted):
            continue
        if run.label not in shown and len(shown) < _MOST_FIGURES:
            shown.add(run.label)
            yield (
                svg_text(power_figure(fitted, unit), f"{prefix}-power{len(shown)}"),
                f"Trade-off curve of {run.label}, seed {run.seed}, on validation: one training, at every power of "
                "its label prior. The run keeps the marked power.",
            )


def _training(folders: Mapping[str, Sequence[Path]], labels: Sequence[str], prefix: str) -> Iterator[Drawing]:
    names = ("train/loss", "val/all/mae")
    logs = {label: log for label, paths in folders.items() if (log := logged_values(paths[0])) is not None}
    curves = {label: by_epoch(log, names) for label, log in list(logs.items())[:_MOST_LINES]}
    curves = {label: values for label, values in curves.items() if len(values["epoch"]) and len(values) > 1}
    if curves:
        figure = training_figure(curves, names)
        for axes in figure.axes:
            for line in axes.lines:
                line.set_gid(f"training--{method_id(str(line.get_label()), labels)}")
        yield (
            svg_text(figure, f"{prefix}-training"),
            "Training of the first seed of each method. Losses of methods with other criteria or weights have other "
            f"units.{_shown(logs, _MOST_LINES)}",
        )


def _fds(folders: Mapping[str, Sequence[Path]], unit: str, prefix: str) -> Iterator[Drawing]:
    # Maps of 100 x 100 labels are the largest figures of a page: ten runs shall stay below a megabyte.
    others = " Other methods with FDS are not drawn." if len(folders) > 1 else ""
    for label, paths in folders.items():
        found = fds_of(paths[0])
        if found is None:
            continue
        yield (
            svg_text(similarity_figure(*found, unit=unit), f"{prefix}-similarity"),
            f"Feature statistics of {label}, {paths[0].name}, best epoch: cosine of the mean and of the variance of "
            "two labels, before and after FDS. Sound statistics fall off evenly with the distance of the labels."
            f"{others}",
        )
        log = logged_values(paths[0])
        history = {} if log is None else by_epoch(log, _FDS)
        if len(history.get("epoch", ())):
            plain = {name.removeprefix("fds/"): values for name, values in history.items()}
            yield (
                svg_text(fds_epochs_figure(plain), f"{prefix}-fds"),
                f"FDS of {label}, {paths[0].name}, over the epochs. Statistics that still drift at the end calibrate "
                "with features of another epoch.",
            )
        return
