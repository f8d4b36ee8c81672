"""The judgement of a search: ranked candidates, the trade-off curve, one sentence of advice, and the settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dir._checks import message
from dir.commands.judging import (
    METRIC_OF,
    Objective,
    Rows,
    at_best_power,
    bootstrap_counts,
    corrected,
    folds_of,
    interval,
    resampled,
)
from dir.commands.search import CANDIDATES, PLAIN, Candidate, Search, is_tree, read_powers, read_validation

Array = NDArray[np.float64]
# Columns beside the objective.
_SHOWN = {"all": "mae", "balanced": "balanced_mae", "many": "many", "few": "few"}


@dataclass(frozen=True)
class Judged:
    """A candidate with the predictions of its runs.

    Args:
        candidate: the candidate.
        predictions: cross-fitted where there is something to fit, [seeds, N].
        powers: power of the label prior that each run would keep; empty for other methods.
    """

    candidate: Candidate
    predictions: Array
    powers: tuple[float, ...] = ()


def judge(search: Search, objective: Objective) -> dict[str, Any]:
    """Return the result of a search, JSON-able, from the validation rows alone.

    Returns:
        ``objective``, ``metric``, ``rows`` (validation rows that count), ``candidates`` (best first, with value,
        interval, difference to the best and further errors), ``curve`` of the label prior (empty if it was not
        trained), ``advice`` and ``overrides`` (of ``dir-train``, for the best candidate).
    """
    rows, judged, curve = _read(search, objective)
    groups = objective.groups(rows)
    counts = bootstrap_counts(groups)
    table = []
    for one in judged:
        losses = np.mean([objective.losses(rows, prediction) for prediction in one.predictions], axis=0)
        value = float(resampled(losses, groups, np.ones((1, len(losses))))[0])
        table.append((value, resampled(losses, groups, counts), one))
    table.sort(key=lambda entry: entry[0])
    best = table[0]
    found = []
    for value, draws, one in table:
        low, high = interval(draws)
        worse_low, worse_high = interval(draws - best[1])
        found.append(
            {
                "name": one.candidate.name,
                "seeds": len(one.predictions),
                "value": value,
                "low": low,
                "high": high,
                "to_best": {"mean": value - best[0], "low": worse_low, "high": worse_high},
                "errors": {name: _mean_error(rows, one.predictions, name) for name in _SHOWN},
                "powers": list(one.powers),
            }
        )
    return {
        "objective": objective.name,
        "metric": objective.metric,
        "rows": int((groups >= 0).sum()),
        "candidates": found,
        "curve": curve,
        "advice": advise(objective, found),
        "overrides": overrides_of(search, objective, best[2]),
    }


def _read(search: Search, objective: Objective) -> tuple[Rows, list[Judged], list[dict[str, float | None]]]:
    judged: list[Judged] = []
    curve: list[dict[str, float | None]] = []
    rows = None
    for candidate in CANDIDATES:
        seeds = search.finished(candidate.run)
        if not seeds:
            continue
        folders = [search.run_folder(candidate.run, seed) for seed in seeds]
        read = [read_validation(folder) for folder in folders]
        rows = read[0][0]
        folds = folds_of(len(rows.label))
        powers: tuple[float, ...] = ()
        predictions = [prediction for _, prediction in read]
        if candidate.correction is not None:
            predictions = [corrected(candidate.correction, rows, prediction, folds) for prediction in predictions]
        elif candidate.run == "histogram_prior":
            by_power = [read_powers(folder) for folder in folders]
            chosen = [at_best_power(objective, rows, one, folds) for one in by_power]
            powers, predictions = tuple(power for power, _ in chosen), [prediction for _, prediction in chosen]
            for at, (power, _) in list(enumerate(by_power[0]))[::4]:
                shown = np.array([one[at][1] for one in by_power])
                curve.append({"power": power, **{name: _mean_error(rows, shown, name) for name in _SHOWN}})
        judged.append(Judged(candidate, np.array(predictions), powers))
    if rows is None:
        reasons = "; ".join(f"{run}: {reason}" for run, reason in search.failures.items())
        raise ValueError(message(str(search.folder), f"no training has ended ({reasons})"))
    return rows, judged, curve


def _mean_error(rows: Rows, predictions: Array, name: str) -> float | None:
    """Return the mean over seeds of an absolute error: over all rows, over bins, or over one shot group."""
    error = np.abs(predictions - rows.label).mean(axis=0)
    if name == "balanced":
        groups = np.unique(rows.bin, return_inverse=True)[1]
    else:
        groups = np.where((rows.shot == name) | (name == "all"), 0, -1)
    if (groups < 0).all():
        return None
    return float(resampled(error, groups, np.ones((1, len(error))))[0])


def advise(objective: Objective, candidates: Sequence[dict[str, Any]]) -> str:
    """Return one sentence about the best candidate and the best plain model.

    Args:
        objective: the objective.
        candidates: as :func:`judge` returns them, best first.
    """
    best = candidates[0]
    plain = next((one for one in candidates if one["name"] in PLAIN), None)
    text = f"{objective.metric} {best['value']:.4g} [{best['low']:.4g}, {best['high']:.4g}]"
    if plain is None:
        return f"Use {best['name']} ({text}): no plain model has been trained to compare with."
    if plain is best:
        return f"Use {best['name']} ({text}): no method against imbalance is better on these rows."
    gap = plain["to_best"]
    gain = f"{gap['mean']:.3g} [{gap['low']:.3g}, {gap['high']:.3g}]"
    if gap["low"] > 0:
        return f"Use {best['name']} ({text}): the best plain model, {plain['name']}, is worse by {gain}."
    return (
        f"{best['name']} has the lowest error ({text}), but these rows cannot tell it from the plain model "
        f"{plain['name']}, which is worse by {gain}: prefer the plain model, or validate on more rows."
    )


def overrides_of(search: Search, objective: Objective, best: Judged) -> list[str]:
    """Return the overrides with which ``dir-train`` trains the best candidate on the user's file."""
    own = [line for line in search.overrides if not (is_tree(best.candidate.run) and line.startswith("model="))]
    chosen = [*own, *search.suggested, *best.candidate.overrides]
    if best.powers:
        if objective.name in METRIC_OF:
            return [*chosen, f"method.power_objective={objective.metric}"]
        # A run cannot choose its power by a cost.
        return [*chosen, "method.power_objective=null", f"method.head.power={float(np.median(best.powers)):g}"]
    return chosen
