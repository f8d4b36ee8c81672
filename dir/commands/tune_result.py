"""The result of a search with ``dir-tune``: the trials, the importance of the settings, and the best config."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from dir._atomic import write_atomic
from dir._checks import message
from dir.commands.advice import write_experiment
from dir.commands.tune_plan import Plan
from dir.commands.tune_space import override_of
from dir.commands.tune_study import describe_trial, short_key, varied

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The importance of settings is a guess from fewer finished trials.
MIN_TRIALS = 10
SHOWN = 8


def result_of(study: optuna.Study, plan: Plan) -> dict[str, Any]:
    """Return the result of a search, JSON-able.

    Returns:
        ``objective``, ``direction``, ``counts`` (finished, pruned, failed, open), ``first`` (value of the trial with
        the settings of the config, None if it has none), ``best`` (number, value, overrides and validation metrics),
        ``importance`` by key (empty with fewer than ten finished trials), ``without_importance`` (settings that some
        trials lack) and ``trials`` (the finished ones, best first).

    Raises:
        ValueError: no trial has finished.
    """
    trials = study.get_trials(deepcopy=False)
    ended = [one for one in trials if one.state == TrialState.COMPLETE]
    if not ended:
        reasons = "; ".join(describe_trial(one) for one in trials if one.state.is_finished())
        raise ValueError(message(str(plan.folder), f"no trial has finished ({reasons or 'none has ended'})"))
    best_value = study.best_trial.value
    assert best_value is not None
    ranked = sorted(ended, key=lambda one: (plan.target.worse_by(_value(one), best_value), one.number))
    best, first = ranked[0], next((one for one in ended if one.number == 0), None)
    shares = importance(study) if len(ended) >= MIN_TRIALS else {}
    states = Counter(one.state for one in trials)
    return {
        "objective": str(plan.target),
        "direction": plan.target.direction,
        "counts": {
            "finished": len(ended),
            "pruned": states[TrialState.PRUNED],
            "failed": states[TrialState.FAIL],
            "open": states[TrialState.RUNNING],
        },
        "first": None if first is None else first.value,
        "best": {
            "number": best.number,
            "value": best.value,
            "overrides": best.user_attrs["overrides"],
            "val": best.user_attrs["val"],
        },
        "importance": shares,
        "without_importance": sorted({key for one in ended for key in one.params} - set(shares)) if shares else [],
        "trials": [
            {"number": one.number, "value": one.value, "settings": varied(one), **one.user_attrs["run"]}
            for one in ranked
        ],
    }


def importance(study: optuna.Study) -> dict[str, float]:
    """Return the share of each setting in the variance of the objective over the finished trials, highest first.

    The shares are those of functional ANOVA (Hutter et al., An Efficient Approach for Assessing Hyperparameter
    Importance, ICML 2014), for the settings that all finished trials have. They sum to one. Empty where no setting
    changed the objective.
    """
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len({one.value for one in ended}) < 2:
        return {}
    return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))


def write_result(study: optuna.Study, plan: Plan) -> dict[str, Any]:
    """Write the best config, trials.csv, tune.json and importance.png, and return the result with their paths."""
    result = result_of(study, plan)
    best = result["best"]
    comment = f"Written by dir-tune: {plan.target} {best['value']:.4g} on validation, trial {best['number']}."
    name = f"{plan.folder.resolve().name}-best"
    path, command = write_experiment(plan.folder, name, best["overrides"], comment, replace=True)
    result |= {"config": str(path), "command": command, "picture": ""}
    write_trials(study, plan.folder / "trials.csv")
    if result["importance"]:
        picture_path = plan.folder / "importance.png"
        picture(result["importance"], f"{plan.target}, {result['counts']['finished']} trials").savefig(
            picture_path, dpi=150
        )
        result["picture"] = str(picture_path)
    write_atomic(plan.folder / "tune.json", (json.dumps(result, indent=1) + "\n").encode())
    return result


def write_trials(study: optuna.Study, path: Path) -> None:
    """Write a csv with a row for each trial: number, state, value, reason of a failure, and the varied settings."""
    import pandas as pd

    rows = [
        {"trial": one.number, "state": one.state.name.lower(), "value": one.value}
        | {"failure": one.user_attrs.get("failure", "")}
        | {key: override_of("", value)[1:] for key, value in one.params.items()}
        for one in study.get_trials(deepcopy=False)
        if one.state != TrialState.WAITING
    ]
    write_atomic(path, pd.DataFrame(rows).to_csv(index=False).encode())


def picture(shares: dict[str, float], title: str) -> Figure:
    """Return bars of the importance of each setting."""
    from matplotlib.figure import Figure

    names, values = list(shares)[::-1], list(shares.values())[::-1]
    figure = Figure(figsize=(7, 1.2 + 0.35 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    axes.barh(names, values, color="#9db4c8")
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of the variance of the objective")
    axes.set_title(title, fontsize=10)
    for at, value in enumerate(values):
        axes.text(min(value + 0.01, 0.93), at, f"{value:.2f}", va="center", fontsize=8)
    return figure


def print_result(result: dict[str, Any], plan: Plan) -> None:
    """Print the best trials, the gain over the config, the importance of the settings, and the command."""
    from rich.text import Text

    from dir.compare.report import Grid, print_grids

    counts, best, first = result["counts"], result["best"], result["first"]
    epochs = [f"{one['best_epoch']} of {one['epochs']}" if one["epochs"] else "-" for one in result["trials"]]
    rows = [
        (str(one["number"]), f"{one['value']:.4g}", trained, one["settings"])
        for one, trained in list(zip(result["trials"], epochs, strict=True))[:SHOWN]
    ]
    header = ("trial", result["objective"], "best epoch", "settings")
    shown = ", ".join(f"{number} {name}" for name, number in counts.items() if number or name == "finished")
    console = print_grids([Grid(f"validation, trials: {shown}", header, tuple(rows))])

    def say(text: str, style: str = "") -> None:
        console.print(Text(text, style=style), soft_wrap=True)

    if first is not None:
        gain = plan.target.worse_by(first, best["value"])
        better = f"better by {gain:.3g}" if gain else "no trial is better"
        say(f"{result['objective']} {best['value']:.4g}; with the settings of the config {first:.4g}: {better}.")
    say(f"The best of {counts['finished']} validation errors looks better than it is. The test rows were not read.")
    if result["importance"]:
        shares = ", ".join(f"{short_key(key)} {value:.2f}" for key, value in result["importance"].items())
        lacking = ", ".join(short_key(key) for key in result["without_importance"])
        without = f"; not of {lacking}, which some trials lack" if lacking else ""
        say(f"importance: {shares}{without} (written to {result['picture']})")
    else:
        say(f"importance: not computed from fewer than {MIN_TRIALS} finished trials.")
    if counts["open"]:
        say(f"{counts['open']} trials were cut off. The same command again goes on with them.")
    say(f"written to {result['config']}")
    say(result["command"], style="bold")


def _value(trial: FrozenTrial) -> float:
    assert trial.value is not None
    return trial.value
