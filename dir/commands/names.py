"""All commands: their names, their functions and one line each. ``dir-NAME`` and ``python -m dir NAME`` run them.

The module imports no command, because some take seconds to import. pyproject.toml repeats names and functions,
because it cannot read this list; a test compares both.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple

from dir._checks import message, suggestion


class Command(NamedTuple):
    """A command: its function as ``module:name``, which reads ``sys.argv``, and one line about it."""

    function: str
    about: str


COMMANDS = {
    "train": Command("dir.recipe.cli:train_main", "train a recipe, or a sweep of recipes with -m"),
    "evaluate": Command("dir.recipe.cli:evaluate_main", "print the tables of a run again, or of other test rows"),
    "predict": Command("dir.bundle.cli:predict_main", "predict the rows of a file with a trained model"),
    "compare": Command("dir.compare.cli:main", "compare runs: mean and spread over seeds, paired differences"),
    "report": Command("dir.compare.html.cli:main", "write one page of HTML about finished runs"),
    "tradeoff": Command("dir.compare.tradeoff_cli:main", "errors of runs at each power of the label prior"),
    "ensemble": Command("dir.compare.ensemble_cli:main", "average the predictions of finished runs"),
    "audit": Command("dir.recipe.audit_cli:main", "list training labels that look wrong"),
    "describe": Command("dir.commands.describe:main", "describe the labels of a file, and suggest settings"),
    "recommend": Command("dir.commands.recommend:main", "train a few models, and recommend one for your objective"),
    "tune": Command("dir.commands.tune:main", "search the settings of a method on validation rows"),
    "monitor": Command("dir.commands.monitor:main", "compare new rows with those of a run: drift and error"),
    "export": Command("dir.bundle.cli:export_main", "export a trained model to ONNX or torch.export"),
    "leakage": Command("dir.commands.leakage:main", "report the groups that the splits of a benchmark share"),
    "prepare-data": Command("dir.commands.prepare_data:main", "write the csv of a benchmark from its image folder"),
}


def usage() -> str:
    """Return the list of the commands."""
    width = max(map(len, COMMANDS))
    lines = (f"  {name.ljust(width)}  {command.about}" for name, command in COMMANDS.items())
    return "\n".join(["usage: python -m dir COMMAND [arguments]; the same as dir-COMMAND [arguments]", "", *lines])


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command: ``python -m dir train +experiment=NAME`` is ``dir-train +experiment=NAME``.

    Raises:
        SystemExit: no command, or an unknown one, with the list of the commands.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given in (["--help"], ["-h"]):
        print(usage())
        return
    if not given:
        sys.exit(usage())
    name, *rest = given
    if name not in COMMANDS:
        sys.exit(f"{message(name, 'no such command', advice=suggestion(name, COMMANDS))}\n{usage()}")
    # The functions read the arguments, and the name for their usage text, from here.
    sys.argv = [f"dir-{name}", *rest]
    module, _, function = COMMANDS[name].function.partition(":")
    getattr(import_module(module), function)()
