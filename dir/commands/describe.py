"""Command line of ``dir-describe``: is my data imbalanced, and what should I set?

PyTorch and pandas take seconds to import. The module refuses wrong arguments before it imports them.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dir._checks import check_figure_file, message
from dir._program import program

_ABOUT = """Describe the labels of a data set, and suggest settings.

%(prog)s data.path=FILE.csv data.target=COLUMN [data.KEY=VALUE ...]   a table, as dir-train reads it
%(prog)s data.path=FILE.npz data.label=KEY                            pictures, or an array of labels
%(prog)s data.csv=FILE.csv data.target=COLUMN [data.path=FOLDER]      a list of pictures
%(prog)s data.path=FILE.tsv data.text=COLUMN data.target=COLUMN       texts: the label column alone
%(prog)s data.path=FILE.txt                                           a column of numbers (also .npy)
%(prog)s +experiment=NAME [data.KEY=VALUE ...]                        the data of a recipe

data.target=[A,B] describes several targets.
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    found = argparse.ArgumentParser(
        prog=program("describe"),
        usage="%(prog)s data.path=FILE data.target=COLUMN [key=value ...] [options]",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument("overrides", nargs="*", metavar="key=value", help="the data, in the words of dir-train")
    found.add_argument("--json", action="store_true", help="print the report as json instead")
    found.add_argument("--picture", type=Path, metavar="FILE", help="also draw the label density (png, svg or pdf)")
    found.add_argument(
        "--config", type=Path, metavar="FOLDER", help="also write the suggestions to FOLDER/experiment/NAME.yaml"
    )
    return found


def check_overrides(arguments: argparse.ArgumentParser, overrides: Sequence[str]) -> None:
    """End the process with the usage unless the overrides name data that may exist."""
    for line in overrides:
        if "=" not in line:
            arguments.error(message(line, "expected key=value"))
    given = dict(line.lstrip("+").partition("=")[::2] for line in overrides)
    if not {"experiment", "data.path", "data.csv"} & set(given):
        arguments.error(message("data.path", "no data given", advice="Give data.path=FILE data.target=COLUMN."))
    name = "data.csv" if "data.csv" in given else "data.path"
    if "experiment" not in given and not Path(given[name]).is_file():
        arguments.error(message(name, f"file {given[name]!r} not found"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the report of a data set."""
    command = parser()
    args = command.parse_intermixed_args(arguments)
    check_overrides(command, args.overrides)
    if args.picture is not None:
        try:
            check_figure_file("--picture", args.picture)
        except ValueError as error:
            command.error(str(error))

    from dir.recipe.cli import is_user_error
    from dir.recipe.schema import register_configs

    register_configs()
    try:
        report = describe(args.overrides)
        if args.picture is not None:
            from dir.commands.screen import picture

            args.picture.parent.mkdir(parents=True, exist_ok=True)
            picture(report).savefig(args.picture, dpi=150)
        written = None if args.config is None else write_config(report, args.config)
    except Exception as error:
        if os.environ.get("HYDRA_FULL_ERROR") or not (isinstance(error, OSError) or is_user_error(error)):
            raise
        sys.exit(str(error))
    if args.json:
        print(json.dumps(report, indent=1))
        return

    from dir.commands.screen import print_report

    print_report(report)
    if written is not None:
        print(f"written to {written[0]}: {written[1]}")


def describe(overrides: Sequence[str]) -> dict[str, Any]:
    """Return the report of a data set, JSON-able.

    Args:
        overrides: the data, see :func:`dir.commands.sources.open_sources`.

    Returns:
        The keys of :func:`dir.data.label_report.label_report`, and ``name``, ``unit``, ``inputs`` (see
        :func:`dir.data.repeated_inputs.repeated_inputs`), ``notes``, ``suggested`` (pairs of an override and its
        reason), ``overrides`` (all of them) and ``command``; the last two are empty if no recipe reads the file. With
        several targets, ``targets`` holds the keys of ``label_report`` and ``inputs`` by the name of the target.
    """
    from dir.commands.advice import command_line, log_note, suggest_for_targets, suggest_overrides
    from dir.commands.sources import open_sources
    from dir.data.label_report import label_report
    from dir.data.repeated_inputs import repeated_inputs
    from dir.recipe.several_targets import joined_names

    sources = open_sources(overrides)
    first, reports = sources[0], {}
    for source in sources:
        inputs = None if source.keys is None else repeated_inputs(source.keys, source.labels)
        reports[source.unit] = {
            **label_report(source.labels, source.bins, source.shots, source.lds),
            "inputs": inputs,
        }
    notes = list(dict.fromkeys(note for source in sources for note in source.notes))
    several = len(sources) > 1
    suggested: list[tuple[str, str]] = []
    if first.overrides and several:
        suggested = suggest_for_targets(reports, first.overrides)
    elif first.overrides:
        suggested = suggest_overrides(reports[first.unit], first.overrides)
        notes += log_note(reports[first.unit], first.overrides)
    chosen = [*first.overrides, *(override for override, _ in suggested)]
    return {
        "name": first.name,
        "unit": joined_names(list(reports)),
        **({"targets": reports} if several else reports[first.unit]),
        "notes": notes,
        "suggested": suggested,
        "overrides": chosen,
        "command": command_line(chosen) if chosen else "",
    }


def write_config(report: dict[str, Any], folder: Path) -> tuple[Path, str]:
    """Write the suggested settings as an experiment file, and return the file and its command."""
    from dir.commands.advice import write_experiment

    if not report["overrides"]:
        advice = "Correct the file as the note says, then run the command again."
        raise ValueError(message("--config", "no recipe reads this data", advice=advice))
    name = f"{Path(report['name']).stem}-{report['unit']}"
    return write_experiment(folder, name, report["overrides"], f"Written by dir-describe for {report['name']}.")
