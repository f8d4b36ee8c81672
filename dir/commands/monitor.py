"""Command line of ``dir-monitor``: do new rows look like those of the run, and how large is the error on them?

PyTorch and pandas take seconds to import. The module refuses wrong arguments before it imports them.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from dir._atomic import write_atomic
from dir._checks import check_figure_file, message, suggestion
from dir._program import program
from dir.bundle.arguments import DIALECT, FOLDER, check_input, find_bundle

THRESHOLDS = ("psi", "ks", "missing", "error", "alpha")
_OPTIONAL = ("device", "batch_size", "text_encoder", *THRESHOLDS, *DIALECT, FOLDER)
_ABOUT = """Compare new rows with those of a run: drift of inputs and predictions, and the error.

%(prog)s model=RUN new.csv                  a file written like the inputs of dir-predict; labels are optional
%(prog)s model=RUN input=new.csv psi=0.1    thresholds: psi=0.2 ks=0.1 missing=0.02 error=0.1 alpha=0.01

Further settings: data.sep, data.decimal, data.thousands, data.encoding, data.quoting (how a csv is written),
data.path (folder of the pictures that a csv names), device, batch_size, text_encoder.

Exit status: 0 no drift; 3 the inputs, the predictions or the labels drift; 4 the error is larger than on
validation; 1 the report could not be made; 2 wrong arguments.
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    found = argparse.ArgumentParser(
        prog=program("monitor"),
        usage="%(prog)s model=RUN new.csv [key=value ...] [options]",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument("arguments", nargs="*", metavar="model=RUN new.csv", help="the run, its new rows, settings")
    found.add_argument("--json", type=Path, metavar="FILE", help="also write the report as json")
    found.add_argument("--picture", type=Path, metavar="FILE", help="also draw the report (png, svg or pdf)")
    return found


def read_arguments(command: argparse.ArgumentParser, arguments: Sequence[str]) -> dict[str, str]:
    """Return the settings by name; end the process with status 2 and the usage if they cannot be used."""
    files = [one for one in arguments if "=" not in one]
    given = dict(one.partition("=")[::2] for one in arguments if "=" in one)
    if len(files) + ("input" in given) > 1:
        command.error(message("input", "expected one file", files))
    if files:
        given["input"] = files[0]
    for name in given:
        if name not in ("model", "input", *_OPTIONAL):
            command.error(message(name, "no such argument", advice=suggestion(name, _OPTIONAL)))
    for name in ("model", "input"):
        if not given.get(name):
            command.error(message(name, "not given", advice=f"Give {command.prog} model=RUN new.csv."))
    for name in THRESHOLDS:
        try:
            float(given.get(name, "0"))
        except ValueError:
            command.error(message(name, "expected a number", given[name]))
    size = given.get("batch_size", "1")
    if not size.isdigit() or int(size) < 1:
        command.error(message("batch_size", "expected an integer >= 1", size))
    return given


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the report of new rows, and end the process with its status.

    Raises:
        SystemExit: always; see :data:`_ABOUT` for the statuses.
    """
    command = parser()
    args = command.parse_intermixed_args(arguments)
    given = read_arguments(command, args.arguments)
    if args.picture is not None:
        try:
            check_figure_file("--picture", args.picture)
        except ValueError as error:
            command.error(str(error))
    try:
        find_bundle(Path(given["model"]))
        check_input(Path(given["input"]))
    except OSError as error:
        sys.exit(str(error))

    from dir.recipe.cli import is_user_error

    try:
        from dir.commands.monitoring import monitor_file

        report = monitor_file(given)
        if args.picture is not None:
            from dir.commands.monitor_screen import write_picture

            write_picture(report, args.picture)
        if args.json is not None:
            args.json.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(args.json, (json.dumps(report, indent=1, allow_nan=False) + "\n").encode())
    except Exception as error:
        if os.environ.get("HYDRA_FULL_ERROR") or not (isinstance(error, OSError) or is_user_error(error)):
            raise
        sys.exit(str(error))

    from dir.commands.monitor_screen import print_report

    print_report(report)
    sys.exit(int(report["status"]))
