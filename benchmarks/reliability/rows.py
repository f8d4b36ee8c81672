"""Rows of the table of docs/reliability.md: a promise, its test, and the outcomes of its cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Outcomes with which a promise holds. Every other outcome breaks the promise.
HELD = ("same", "refused", "harmless", "made again")


@dataclass(frozen=True)
class Case:
    """Result of one case.

    Args:
        name: description of the case, shown if the promise was broken.
        outcome: one of :data:`HELD`, or another word for a broken promise.
        detail: end of an output, shown if the promise was broken.
    """

    name: str
    outcome: str
    detail: str = ""


@dataclass(frozen=True)
class Row:
    """A promise and the function that tests it.

    Args:
        key: name of the row.
        promise: sentence for the user.
        test: sentence about the test and its oracle.
        cases: function of an empty folder and of ``short`` (a few cases of each kind) that yields the cases.
    """

    key: str
    promise: str
    test: str
    cases: Callable[[Path, bool], Iterable[Case]]


def measure(row: Row, folder: Path, short: bool) -> dict[str, Any]:
    """Run the cases of a row and return its entry of reliability.json."""
    folder.mkdir(parents=True)
    outcomes: Counter[str] = Counter()
    broken = []
    for case in row.cases(folder, short):
        outcomes[case.outcome] += 1
        if case.outcome not in HELD:
            broken.append({"case": case.name, "outcome": case.outcome, "detail": case.detail[-600:]})
    return {
        "key": row.key,
        "cases": sum(outcomes.values()),
        "held": sum(outcomes[name] for name in HELD),
        "outcomes": dict(sorted(outcomes.items())),
        "broken": broken,
    }


def some(items: Iterable[Any], short: bool, count: int = 2) -> Iterator[Any]:
    """Yield all items, or in short mode ``count`` items spread over the whole list."""
    everything = list(items)
    step = max(1, len(everything) // count) if short else 1
    yield from everything[::step][: count if short else None]


def listing(folder: Path) -> dict[str, Any]:
    """Return all files and folders below a folder, each with its content."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")
    }
