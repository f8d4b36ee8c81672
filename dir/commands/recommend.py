"""Command line of ``dir-recommend``: a report of the labels, a short search, and the settings of the best model.

PyTorch and pandas take seconds to import. The module refuses wrong arguments before it imports them.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dir._checks import message
from dir._program import program
from dir.commands.describe import check_overrides

if TYPE_CHECKING:
    from dir.commands.judging import Objective
    from dir.commands.search import Search

_ABOUT = """Describe the labels of your data, train a few models, and recommend one for your objective.

  --objective crowd       lowest mean absolute error, if new labels are distributed as in the file
  --objective balanced    lowest error averaged over the label range
  --objective tail        lowest error on few-shot labels
  --objective cost:5,1    lowest cost, if a prediction below the label costs 5 per unit and above it 1

The data is a table (data.path=FILE.csv), pictures (data.csv=FILE.csv, or data.path=FILE.npz data.label=KEY), texts
(data.path=FILE data.text=COLUMN), or that of a recipe (+experiment=NAME). Trees are tried on tables alone.

The search never reads the test rows. A training that has begun ends, whatever the budget. The same command again goes
on where the budget ended.
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    found = argparse.ArgumentParser(
        prog=program("recommend"),
        usage="%(prog)s data.path=FILE data.target=COLUMN [key=value ...] --objective NAME [options]",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument("overrides", nargs="*", metavar="key=value", help="the data, in the words of dir-train")
    found.add_argument("--objective", required=True, help="crowd, balanced, tail or cost:UNDER,OVER")
    found.add_argument("--minutes", type=float, default=10.0, help="budget of this call (default: 10)")
    found.add_argument("--seeds", type=int, default=3, help="seeds of each network at most (default: 3)")
    found.add_argument("--folder", type=Path, help="folder of the search (default: outputs/recommend/NAME)")
    found.add_argument("--json", action="store_true", help="print the result as json instead")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Search, print the ranked models, and write the settings of the best one."""
    command = parser()
    args = command.parse_intermixed_args(arguments)
    check_overrides(command, args.overrides)
    if not args.minutes >= 0:
        command.error(message("--minutes", "expected a number >= 0", args.minutes))
    if args.seeds < 1:
        command.error(message("--seeds", "expected an integer >= 1", args.seeds))
    for line in args.overrides:
        if line.startswith("method"):
            command.error(message(line.partition("=")[0], "dir-recommend chooses the method", line, "Remove it."))
    kind = args.objective.partition(":")[0]
    if kind not in ("crowd", "balanced", "tail", "cost"):
        command.error(message("--objective", "expected crowd, balanced, tail or cost:UNDER,OVER", args.objective))

    from dir.commands.judging import Objective
    from dir.recipe.cli import is_user_error
    from dir.recipe.quiet import quiet_lightning
    from dir.recipe.schema import register_configs

    register_configs()
    quiet_lightning()
    try:
        objective = Objective.parse(args.objective)
        result = recommend(args.overrides, objective, args.minutes, args.seeds, args.folder, show=not args.json)
    except Exception as error:
        if os.environ.get("HYDRA_FULL_ERROR") or not (isinstance(error, OSError) or is_user_error(error)):
            raise
        sys.exit(str(error))
    except (KeyboardInterrupt, SystemExit):
        sys.exit("Interrupted. The same command again goes on with the search.")
    if args.json:
        print(json.dumps(result, indent=1))


def recommend(
    overrides: Sequence[str],
    objective: Objective,
    minutes: float = 10.0,
    seeds: int = 3,
    folder: Path | None = None,
    show: bool = False,
) -> dict[str, Any]:
    """Search, and return the result of :func:`dir.commands.recommendation.judge` with what was written.

    Args:
        overrides: the data and further settings, in the words of ``dir-train``; see
            :func:`dir.commands.sources.with_experiment`.
        objective: what to judge by.
        minutes: budget of this call. The first training always runs.
        seeds: seeds of each network.
        folder: folder of the search. Default: ``outputs/recommend/NAME``, such as FILE-COLUMN.
        show: print the report of the labels, a line for each training, and the result.
    """
    from dir._atomic import write_atomic
    from dir.commands.advice import write_experiment
    from dir.commands.recommendation import judge
    from dir.commands.search import Search
    from dir.commands.sources import compose_config, with_experiment

    given = with_experiment(overrides)
    drawn, lines = _split_for(objective, given)
    name = str(compose_config(given).name).rpartition("/")[2]
    folder = folder or Path("outputs/recommend") / (f"{name}-random" if drawn else name)
    search = Search(folder, [*given, *drawn])
    report = describe_search(search, name)
    if show:
        from dir.commands.screen import print_report

        print_report(report)
        print("", *lines, f"Search in {folder}, {minutes:g} minutes:", sep="\n")
    missing = search.spend(minutes, seeds, print if show else lambda line: None)
    result = judge(search, objective) | {"not_tried": missing, "failed": search.failures}
    config, command = write_experiment(
        folder, f"{name}-{objective.name}", result["overrides"], f"Written by dir-recommend: {result['advice']}", True
    )
    result |= {"config": str(config), "command": command}
    write_atomic(folder / f"recommend_{objective.name}.json", (json.dumps(result, indent=1) + "\n").encode())
    if show:
        from dir.commands.screen import print_recommendation

        print_recommendation(result)
    return result


def _split_for(objective: Objective, given: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the override of the split that the objective needs, and a line about it."""
    from dir.commands.advice import key_of
    from dir.commands.sources import compose_config

    if objective.name not in ("crowd", "cost"):
        return [], []
    if not {"split", "split_column"} <= set(compose_config(given).data):
        return [], [f"The data has splits of its own: `{objective.name}` judges by their label density."]
    draws = ("split", "split_column", "group", "time", "test_path")
    named = sorted({key_of(line) for line in given} & {f"data.{key}" for key in draws})
    if named:
        return [], [f"{named[0]} decides the validation rows: `{objective.name}` judges by their label density."]
    why = "validation labels have to be distributed as in the file"
    return ["data.split=random"], [f"data.split=random: `{objective.name}` needs it, {why}."]


def describe_search(search: Search, name: str) -> dict[str, Any]:
    """Return the report of the training and validation labels, and let the search use what it suggests."""
    from hydra.utils import instantiate

    from dir.commands.advice import suggest_overrides
    from dir.commands.sources import keys_of
    from dir.data.label_report import label_report
    from dir.data.repeated_inputs import repeated_inputs
    from dir.recipe.build import build_data

    cfg = search.config(())
    data, (bins,), _, _ = build_data(cfg, search.set_up)
    labels: dict[str, Any] = {split: data.labels(split).double().numpy() for split in data.splits}
    lds = instantiate(search.config(("method=lds",)).method.lds, _partial_=True, _convert_="all")(bins)
    report = label_report(labels, bins, instantiate(cfg.task.shots, _convert_="all"), lds)
    suggested = [(line, why) for line, why in suggest_overrides(report, search.overrides) if line[:7] != "method="]
    search.suggested = tuple(line for line, _ in suggested)
    keys = keys_of(data)
    inputs = None if keys is None else repeated_inputs(keys, labels)
    return {"name": name, "unit": cfg.task.unit, **report, "inputs": inputs, "notes": [], "command": ""} | {
        "suggested": suggested
    }
