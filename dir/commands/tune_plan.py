"""The plan of a search with ``dir-tune``: which config each trial has, and whether the data can judge it."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from dir._checks import message
from dir.commands.advice import experiment_file, key_of
from dir.commands.closed_runs import row_hashes
from dir.commands.sources import compose_config
from dir.commands.tune_space import Dimension, has_effect, override_of, space_of, split_overrides
from dir.commands.tune_target import Target
from dir.data.base import RegressionData
from dir.metrics import ShotMetrics
from dir.metrics.table import SHOTS
from dir.recipe.build import build_data
from dir.recipe.same_settings import MAY_CHANGE, leaves
from dir.recipe.several_targets import refuse_several

# Returns a value of a dimension.
Choose = Callable[[Dimension], Any]
# Settings of the data that change neither the rows of the splits nor their labels.
_FREE_DATA = {
    f"data.{name}" for name in ("batch_size", "log_target", "image_size", "padding", "flip", "shift", "noise")
}
_JUDGE = ("seed", "name", "experiment", "protocol", "cost", "task.bins", "task.shots", "resume")


@functools.lru_cache(maxsize=64)
def composed(lines: tuple[str, ...]) -> DictConfig:
    """Return :func:`compose_config` of overrides, which takes a third of a second. Do not change the config."""
    return compose_config(lines)


@dataclass(frozen=True)
class Plan:
    """A search: its settings and its budget. The plan travels to worker processes.

    Args:
        folder: folder of the search.
        overrides: of ``dir-train``; a sweep such as ``optimizer.lr=1e-3,1e-2`` is varied.
        target: what the search improves.
        trials: trials in the folder, at most; with those of earlier calls.
        minutes: budget of this call; None for no limit. The first trial always runs.
        seed: seed of the sampler.
        pruning: whether a trial ends early that is worse than the median of the others at the same epoch.
    """

    folder: Path
    overrides: tuple[str, ...]
    target: Target
    trials: int = 30
    minutes: float | None = None
    seed: int = 0
    pruning: bool = True

    @functools.cached_property
    def parts(self) -> tuple[list[str], list[Dimension]]:
        """The overrides with one value, and the dimensions that the user gives."""
        return split_overrides(self.overrides)

    def settings(self, choose: Choose) -> list[str]:
        """Return the overrides of a trial.

        The settings that the user gives as sweeps are chosen first, because the method decides which others it has.

        Args:
            choose: returns a value of a dimension.
        """
        fixed, given = self.parts
        named = [key_of(line) for line in self.overrides]
        lines = [*fixed, *(override_of(one.key, choose(one)) for one in given)]
        cfg = composed(tuple(lines))
        chosen: dict[str, Any] = {}
        for one in space_of(cfg, named):
            if has_effect(one.key, chosen):
                chosen[one.key] = choose(one)
        lines += [override_of(key, value) for key, value in chosen.items()]
        objective = "method.power_objective"
        if cfg.method.power_objective is not None and objective not in named and self.target.chooses_power:
            lines.append(f"{objective}={self.target}")
        return lines

    def space(self) -> list[Dimension]:
        """Return all that the search varies, with the first of the user's choices where these change the space."""
        found: list[Dimension] = []

        def first(one: Dimension) -> Any:
            found.append(one)
            return start_of(one)

        self.settings(first)
        return found

    def why_not_pruned(self, cfg: DictConfig) -> str:
        """Return why the trials of a config cannot end early; an empty text if they can."""
        if not self.pruning:
            return "--no-pruning"
        if cfg.method.estimator is not None:
            return "the method has no epochs"
        if not self.target.in_validation:
            return f"{self.target.metric} is computed after the training alone"
        changed = next((key for key in ("power_objective", "posthoc") if cfg.method[key] is not None), None)
        return f"method.{changed} changes the predictions after the training" if changed else ""

    def check(self) -> dict[str, Any]:
        """Check settings, data and objective, and return what identifies the search, JSON-able.

        Raises:
            ValueError, FileNotFoundError: settings or data that cannot be searched; nothing is written.
        """
        for one in self.parts[1]:
            key = one.key
            judge = next((name for name in _JUDGE if key == name or key.startswith(f"{name}.")), "")
            if judge or (key.startswith("data.") and key not in _FREE_DATA) or key == "data":
                problem = "a search compares its trials on the same validation rows and labels"
                raise ValueError(message(key, problem, advice=f"Give {key} one value."))
        space = self.space()
        if not space:
            advice = "Give a range, such as 'optimizer.lr=tag(log,interval(1e-4,1e-2))'."
            raise ValueError(message("dir-tune", "no setting is left to vary", advice=advice))
        lines = self.settings(start_of)
        experiment_file(lines, "")
        cfg = copy.deepcopy(composed(tuple(lines)))
        if cfg.trainer.get("devices", 1) not in (1, "1") or cfg.trainer.get("num_nodes", 1) != 1:
            advice = "Remove it. --workers trains several trials at once."
            raise ValueError(message("trainer.devices", "a trial trains on one device", cfg.trainer.devices, advice))
        cfg.method.resample = None
        refuse_several(cfg, "dir-tune judges the trials by one target")
        data, _, _, metrics = build_data(cfg, RegressionData.close_test)
        assert isinstance(metrics, ShotMetrics)  # several targets are refused
        if self.target.group != "all":
            group = metrics.members[1 + SHOTS.index(self.target.group)].cpu()
            if not bool(group[metrics.bins(data.labels("val")).cpu()].any()):
                advice = "Choose another group, or set task.shots.by=quantile."
                raise ValueError(
                    message("--objective", f"no validation row is {self.target.group}-shot", str(self.target), advice)
                )
        if self.target.metric == "cost" and cfg.get("cost") is None:
            raise ValueError(
                message("--objective", "the run has no cost", "cost", "Set +cost=linear, see docs/costs.md.")
            )
        config: Any = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)
        kept = {
            key: value
            for key, value in leaves(config).items()
            if value is not None and not any(key == one or key.startswith(f"{one}.") for one in MAY_CHANGE)
        }
        facts = {"objective": str(self.target)} | {f"space of {one.key}": str(one) for one in space}
        facts |= {f"{split} rows": value for split, value in row_hashes(data).items()}
        # OmegaConf keeps numbers such as infinity, which json would change.
        return {key: str(value) for key, value in (kept | facts).items()}


def start_of(one: Dimension) -> Any:
    """Return the value of a dimension that a config without a search has, or the lowest of a range of the user."""
    if one.start is not None:
        return one.start
    low: Any = one.distribution.low  # type: ignore[attr-defined]
    return low
