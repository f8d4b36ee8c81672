"""The target of a table: the settings that name it, and the choice of log(1 + label) as the trained target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dir._checks import check_choice, message

LogTarget = bool | Literal["auto"]

# Labels whose skewness exceeds this are skewed enough for log_target="auto".
SKEWED = 2.0


class TargetChoice(NamedTuple):
    """Whether the criterion sees log(1 + label), and the reason."""

    log1p: bool
    reason: str


def check_target(
    targets: Sequence[str],
    beside: Mapping[str, Sequence[str]],
    test_path: str | None,
    others: Mapping[str, Sequence[str]],
    log_target: LogTarget,
) -> None:
    """Raise a ValueError for settings of the target and the group that contradict the settings of other columns.

    Args:
        targets: columns of the labels.
        test_path, log_target: settings of :class:`dir.data.TabularData`.
        beside: columns of the group, the split, the time and the importance, by config key.
        others: columns of the other settings, by config key.
    """
    group, importance = beside["data.group"], beside.get("data.importance", ())
    check_choice("data.log_target", log_target, (False, True, "auto"))
    if len(targets) > 1 and log_target is not False:
        advice = "Set data.log_target=false, or write the logarithms into columns of the file and predict these."
        raise ValueError(message("data.log_target", "not possible with several targets", log_target, advice))
    if len(targets) > 1 and importance:
        advice = "Remove data.importance, or train one run for each target."
        raise ValueError(message("data.importance", "not possible with several targets", importance[0], advice))
    for option, names in others.items():
        for key, own in (("data.target", targets), ("data.group", group), ("data.importance", importance)):
            for name in own:
                if name in names:
                    raise ValueError(message(key, f"expected a column that is not in {option}", name))
    for name in others["data.letters"]:
        for option in ("data.drop", "data.categorical", "data.dates"):
            if name in others[option]:
                raise ValueError(message("data.letters", f"expected a column that is not in {option}", name))
    for key, named in beside.items():
        for target in targets:
            if target in named:
                raise ValueError(message(key, "expected another column than data.target", target))
    for key, named in beside.items():
        if key != "data.importance" and any(name in named for name in importance):
            raise ValueError(message("data.importance", f"expected another column than {key}", importance[0]))
    shared = [name for name in beside.get("data.split_column", ()) if name in (*group, *beside.get("data.time", ()))]
    if shared:
        advice = "Name another column, or remove one of the settings."
        raise ValueError(message("data.split_column", "expected a column without another role", shared[0], advice))
    if group and test_path is not None:
        given = group[0] if len(group) == 1 else list(group)
        raise ValueError(message("data.group", "not possible together with data.test_path", given, "Remove one."))


def choose_log1p(log_target: LogTarget, train: NDArray[np.float64]) -> TargetChoice:
    """Return the choice of ``log_target``; "auto" decides by the training labels.

    "auto" takes the logarithm if no label is below 0, the skewness of the labels exceeds 2, and the skewness of
    ``log(1 + label)`` is smaller in absolute value.

    Example:
        >>> choose_log1p("auto", np.exp(np.arange(12.0))).log1p, choose_log1p("auto", np.arange(8.0)).reason
        (True, 'the skewness of the training labels is 0.00, not above 2')
    """
    if log_target != "auto":
        return TargetChoice(log_target, f"data.log_target={str(log_target).lower()}")
    low = float(train.min())
    if low < 0:
        return TargetChoice(False, f"the lowest training label is {low:g}, below 0")
    before = skewness(train)
    if not before > SKEWED:
        return TargetChoice(False, f"the skewness of the training labels is {before:.2f}, not above {SKEWED:g}")
    after = skewness(np.log1p(train))
    reason = f"the skewness of the training labels is {before:.2f}, that of log(1 + label) {after:.2f}"
    # Labels with two values have the same skewness in both units, up to rounding.
    return TargetChoice(abs(after) < before * (1 - 1e-6), reason)


def decide_target(
    log_target: LogTarget, kept: bool | None, labels: Mapping[str, NDArray[np.float64]], targets: Sequence[str]
) -> tuple[bool, dict[str, Any]]:
    """Return whether the criterion sees log(1 + label), and a report of this choice.

    Args:
        log_target: the setting.
        kept: choice of the run that is evaluated, which is kept; None to choose.
        labels: raw labels by split, [N] or [N, K].
        targets: columns of the labels.

    Raises:
        ValueError: labels below 0 if ``log_target`` is True.
    """
    if log_target is True:
        for split, values in labels.items():
            _check_not_below_zero(values, split, targets[0])
    if len(targets) > 1:
        return False, {"log_target": False, "log1p": False, "reason": "there are several targets"}
    choice = choose_log1p(log_target, labels["train"])
    log1p = choice.log1p if kept is None else kept
    return log1p, {"log_target": log_target, "log1p": log1p, "reason": choice.reason}


def _check_not_below_zero(labels: NDArray[np.float64], split: str, target: str) -> None:
    """Raise a ValueError for a label below 0, where ``data.log_target=true`` asks for log(1 + label)."""
    below = labels < 0
    if below.any():
        problem = f"expected labels >= 0, {int(below.sum())} of {len(labels)} {split} labels in column {target!r} are"
        advice = "Set data.log_target=false, or shift the labels."
        raise ValueError(message("data.log_target", f"{problem} below, the lowest", float(labels.min()), advice))


def skewness(values: NDArray[np.float64]) -> float:
    """Return the third standardised moment, 0 for constant values.

    Example:
        >>> round(skewness(np.array([0.0, 0.0, 0.0, 4.0])), 4)
        1.1547
    """
    centred = values - values.mean()
    spread = float(np.sqrt(np.mean(centred**2)))
    return float(np.mean((centred / spread) ** 3)) if spread > 0 else 0.0
