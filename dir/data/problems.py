"""Problems of a file, collected and raised in one message; and values and rows as text."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

SHOWN = 20


class Problems:
    """All problems of one file.

    Args:
        path: the file, or the config key, that the message begins with.

    Example:
        >>> problems = Problems("houses.csv")
        >>> problems.add("no column 'price' (found: 'a', 'b')", "The file uses ';' as separator: set data.sep=';'.")
        >>> problems.raise_all()
        Traceback (most recent call last):
        ValueError: houses.csv: no column 'price' (found: 'a', 'b'). The file uses ';' as separator: set data.sep=';'.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.found: list[str] = []

    def add(self, problem: str, advice: str = "") -> None:
        """Add a problem and the advice what to do."""
        self.found.append(f"{problem}. {advice}".strip())

    def raise_all(self) -> None:
        """Raise a ValueError that lists the problems, if there are any."""
        if len(self.found) == 1:
            raise ValueError(f"{self.path}: {self.found[0]}")
        if self.found:
            listed = "".join(f"\n  {number}. {problem}" for number, problem in enumerate(self.found[:SHOWN], start=1))
            more = f"\n  ... and {len(self.found) - SHOWN} more" if len(self.found) > SHOWN else ""
            raise ValueError(f"{self.path}: {len(self.found)} problems:{listed}{more}")


def shown(value: object, width: int = 60) -> str:
    """Return a value for an error message, cut if it is long."""
    text = repr(value)
    return text if len(text) <= width else f"{text[: width - 3]}..."


def listed(names: Iterable[object], width: int = 1000) -> str:
    """Return names for an error message, cut if they are many."""
    text = ", ".join(shown(name) for name in names)
    return text if len(text) <= width else f"{text[: width - 3]}..."


# Longest override that a message shows.
LONGEST = 500


def list_setting(key: str, values: Iterable[object]) -> str:
    """Return the override that sets a list, ready for a shell and for Hydra; with dots for the values if it is long.

    Example:
        >>> print(list_setting("data.drop", ["id", "name"]))
        data.drop=[id,name]
        >>> print(list_setting("data.drop", ["pressure, hPa"]))
        'data.drop=["pressure, hPa"]'
    """
    texts = [str(value) for value in values]
    # Hydra takes other texts in quotation marks alone. It reads a backslash as one only before a quotation mark.
    quoted = [one if re.fullmatch(r"[A-Za-z_][\w./-]*", one, re.ASCII) else _in_quotes(one) for one in texts]
    override = f"{key}=[{','.join(quoted)}]"
    if len(override) > LONGEST:
        return f"{key}=[...]"
    return override if quoted == texts else shlex.quote(override)


def _in_quotes(text: str) -> str:
    escaped = re.sub(r'(\\*)("|$)', lambda found: 2 * found[1] + ('\\"' if found[2] else ""), text)
    return f'"{escaped}"'


def show_rows(rows: NDArray[np.int64]) -> str:
    """Return the first rows of a list as text, counted from 1 below the header, and the number of rows."""
    return show_lines([int(row) + 1 for row in rows[:SHOWN]], len(rows))


def show_lines(numbers: Sequence[int], total: int | None = None) -> str:
    """Return the first numbers as text, and how many there are."""
    total = len(numbers) if total is None else total
    text = ", ".join(map(str, numbers[:SHOWN]))
    return f"{text}, ... ({total} in all)" if total > SHOWN else text
