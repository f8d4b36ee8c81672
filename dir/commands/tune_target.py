"""The number that ``dir-tune`` improves: a validation metric of a shot group, by name. Imports no PyTorch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dir._checks import check_choice, message
from dir.metrics.table import BEST_AT, HIGHER_IS_BETTER, METRICS, MONITORS, REPORTED, SHOTS

_ADVICE = "Give METRIC or GROUP/METRIC, such as balanced_mae or few/mae."


@dataclass(frozen=True)
class Target:
    """A metric of one group of the validation rows.

    Args:
        group: "all" or a shot group.
        metric: name in :data:`dir.metrics.table.TABLE`.
    """

    group: str
    metric: str

    @classmethod
    def parse(cls, text: str) -> Target:
        """Return the target of ``METRIC``, which means all rows, or of ``GROUP/METRIC``.

        Raises:
            ValueError: an unknown group or metric, or a metric of which neither low nor high values are good.

        Example:
            >>> Target.parse("few/mae"), Target.parse("pearson").direction
            (Target(group='few', metric='mae'), 'maximize')
        """
        group, _, metric = text.rpartition("/")
        check_choice("--objective", group or "all", ("all", *SHOTS), _ADVICE)
        check_choice("--objective", metric, REPORTED, _ADVICE)
        if metric in BEST_AT:
            problem = f"the best {metric} is {BEST_AT[metric]}, neither the lowest nor the highest"
            raise ValueError(message("--objective", problem, text, "Choose another metric, such as nll."))
        return cls(group or "all", metric)

    def __str__(self) -> str:
        return self.metric if self.group == "all" else f"{self.group}/{self.metric}"

    @property
    def direction(self) -> Literal["minimize", "maximize"]:
        return "maximize" if self.metric in HIGHER_IS_BETTER else "minimize"

    def worse_by(self, value: float, best: float) -> float:
        """Return how much worse a value is than another one, positive if it is worse."""
        return best - value if self.direction == "maximize" else value - best

    def read(self, groups: Mapping[str, Mapping[str, Any]]) -> float | None:
        """Return the value in the shot metrics of a split; None where it is undefined."""
        value = groups.get(self.group, {}).get(self.metric)
        return None if value is None or not math.isfinite(value) else float(value)

    @property
    def in_validation(self) -> bool:
        """Whether each validation of a training computes the metric: costs and scores of variances may lack."""
        return self.metric in METRICS or self.metric == "cost"

    @property
    def chooses_power(self) -> bool:
        """Whether ``method.power_objective`` takes the metric."""
        return self.metric in (*MONITORS, "nll", "cost")
