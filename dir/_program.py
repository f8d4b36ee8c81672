"""The name under which a command line was started, for its usage text, and the answer to ``--help``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path


def program(command: str) -> str:
    """Return the name of a command as the user typed it: ``train.py`` for a script, else ``dir-train``.

    Args:
        command: name of the console command without ``dir-``.
    """
    script = f"{command.replace('-', '_')}.py"
    return script if Path(sys.argv[0]).name == script else f"dir-{command}"


def answer_help(arguments: Sequence[str], usage: str) -> None:
    """Print the usage text and exit with status 0 if ``--help`` or ``-h`` is the only argument."""
    if list(arguments) in (["--help"], ["-h"]):
        print(usage)
        sys.exit(0)
