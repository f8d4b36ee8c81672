"""The overrides that fit a data set, as a command line and as an experiment file."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from dir._atomic import write_atomic
from dir._checks import message
from dir.recipe.quoted import config_of

# Overrides that choose a file of configs/, by group.
GROUPS = ("data", "model", "method", "optimizer", "scheduler", "trainer", "logger")
# Groups that configs/train.yaml does not list. A command line adds them with a plus sign: +cost=linear.
ADDED_GROUPS = ("cost", "noise", "protocol", "regularizer")
# Overrides whose values are files or folders. An experiment file holds absolute paths.
_PATHS = ("data.path", "data.csv", "data.test_path", "data.glove", "data.cache_dir", "noise.audit", "model.weights")
# Recipes whose bins cover the training labels with task.bins.num_bins of them.
_AUTOMATIC_BINS = ("tabular", "images", "images_npz", "text", "text_finetune", "dense")
# Settings of these recipes have data.log_target.
_LOG_TARGET = ("tabular",)


def key_of(override: str) -> str:
    """Return the key of an override without its leading plus signs.

    Example:
        >>> key_of("+experiment=tabular")
        'experiment'
    """
    return override.lstrip("+").partition("=")[0]


def suggest_overrides(report: Mapping[str, Any], given: Sequence[str]) -> list[tuple[str, str]]:
    """Return the overrides that the report suggests beside those given, each with its reason.

    Args:
        report: see :func:`dir.data.label_report.label_report`.
        given: overrides of the user, which are never replaced.
    """
    found: list[tuple[str, str]] = []
    recipe = _recipe(given)
    if recipe in _LOG_TARGET and report["transform"]["log1p"]:
        found.append(("data.log_target=true", report["transform"]["reason"]))
    bins = report["bins"]
    if recipe in _AUTOMATIC_BINS and bins["kind"] == "equal" and bins["number"] != 50:
        found.append((f"task.bins.num_bins={bins['number']}", bins["reason"]))
    shots = report["shots"]
    empty = [group for group in ("many", "few") if not shots[group]["train"]]
    if empty:
        found.append(("task.shots.by=quantile", f"no training label is {' or '.join(empty)}-shot by count"))
    verdict = report["imbalance"]["verdict"]
    method = "vanilla" if verdict == "nearly uniform" else "lds"
    found.append((f"method={method}", f"the labels are {verdict}"))
    named = {key_of(line) for line in given}
    return [(override, reason) for override, reason in found if key_of(override) not in named]


def log_note(report: Mapping[str, Any], given: Sequence[str]) -> list[str]:
    """Return why the logarithm that the report suggests is in no override, where the recipe has no setting for it."""
    recipe = _recipe(given)
    if not recipe or recipe in _LOG_TARGET or not report["transform"]["log1p"]:
        return []
    advice = "Write log(1 + label) into the file as a label of its own, and predict it."
    return [f"+experiment={recipe} has no data.log_target. {advice}"]


def _recipe(given: Sequence[str]) -> str:
    """Return the experiment that the overrides name, or an empty text."""
    return next((line.partition("=")[2] for line in given if key_of(line) == "experiment"), "")


def suggest_for_targets(reports: Mapping[str, Mapping[str, Any]], given: Sequence[str]) -> list[tuple[str, str]]:
    """Return the overrides that the reports of several targets suggest, each with its reasons.

    A setting holds for all targets. One imbalanced target is enough for ``method=lds``. The logarithm is left out:
    several targets do not have it.

    Args:
        reports: of each target, by name.
        given: overrides of the user, which are never replaced.
    """
    # The targets of each reason, by override.
    found: dict[str, dict[str, list[str]]] = {}
    for name, report in reports.items():
        for override, reason in suggest_overrides(report, given):
            if key_of(override) != "data.log_target":
                found.setdefault(override, {}).setdefault(reason, []).append(name)
    if "method=lds" in found:
        found.pop("method=vanilla", None)
    return [
        (override, "; ".join(f"{reason} ({', '.join(names)})" for reason, names in reasons.items()))
        for override, reasons in found.items()
    ]


def command_line(overrides: Sequence[str]) -> str:
    """Return the ``dir-train`` command of overrides, quoted for a shell."""
    return f"dir-train {shlex.join(overrides)}"


def experiment_file(overrides: Sequence[str], comment: str) -> str:
    """Return the text of an experiment file that sets what the overrides set.

    Args:
        overrides: with ``+experiment=NAME``, which the file extends.
        comment: first line of the file.

    Raises:
        ValueError: the overrides name no experiment, or delete a key.

    Example:
        >>> print(experiment_file(["+experiment=tabular", "data.target=price", "method=lds"], "Houses."))
        # @package _global_
        # Houses.
        defaults:
        - tabular
        - override /method: lds
        - _self_
        data:
          target: price
        <BLANKLINE>
    """
    base, groups, keys = "", [], []
    for line in overrides:
        key, _, value = line.lstrip("+").partition("=")
        if line.startswith("~"):
            advice = "Give the setting on the command line of dir-train."
            raise ValueError(message(key, "expected key=value, an experiment file cannot delete keys", line, advice))
        if key == "experiment":
            base = value
        elif key in GROUPS:
            groups.append({f"override /{key}": value})
        elif key in ADDED_GROUPS:
            groups.append({f"/{key}": value})
        elif key in _PATHS and value.lower() not in ("null", ""):
            keys.append(f"{key}={Path(value).resolve()}")
        else:
            keys.append(line.lstrip("+"))
    if not base:
        raise ValueError(message("+experiment", "expected an experiment to extend", None))
    content = OmegaConf.create({"defaults": [base, *groups, "_self_"]})
    text = OmegaConf.to_yaml(OmegaConf.merge(content, config_of(keys)))
    return f"# @package _global_\n# {comment}\n{text}"


def write_experiment(
    folder: Path, name: str, overrides: Sequence[str], comment: str, replace: bool = False
) -> tuple[Path, str]:
    """Write FOLDER/experiment/NAME.yaml, and return the file and the command that trains with it.

    Args:
        folder: folder of the user's configs.
        name: name of the experiment.
        overrides, comment: see :func:`experiment_file`.
        replace: whether to replace another file of this name.

    Raises:
        ValueError: the file exists and differs, and ``replace`` is false.
    """
    stem = re.sub(r"[^A-Za-z0-9_-]", "_", name)
    path = folder / "experiment" / f"{stem}.yaml"
    text = experiment_file(overrides, comment)
    if not replace and path.exists() and path.read_text(encoding="utf-8") != text:
        raise ValueError(
            message("--config", f"{path} exists and differs", advice="Remove it, or choose another folder.")
        )
    write_atomic(path, text.encode())
    return path, command_line(["--config-dir", str(folder), f"+experiment={stem}"])
