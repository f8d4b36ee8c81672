"""What to train next: the committed results say what is done, and claims keep two workers apart."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.settle.plan import DATA, NUM_TRIALS, SEED_STAGES, trainings_of

RESULTS = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True)
class Item:
    """One training to be done: a trial (``number`` 0 to 5), or a test run (``number`` is its seed)."""

    data: str
    training: str
    role: str
    number: int

    @property
    def name(self) -> str:
        """Return a name for folders and messages."""
        return f"{self.data}/{self.training}/{self.role}_{self.number}"


def read_results(data: str) -> list[dict[str, Any]]:
    """Return the result lines of a data set."""
    path = RESULTS / f"{data}.jsonl"
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def read_complete(data: str) -> list[dict[str, Any]]:
    """Return the result lines without the test runs of seeds that a training other than the slow ones still lacks.

    A table draws its splits by the seed: means over other seeds are means over other rows.
    """
    lines = read_results(data)
    seeds = complete_seeds(data, lines)
    return [line for line in lines if line["role"] != "test" or line["number"] in seeds]


def complete_seeds(data: str, lines: list[dict[str, Any]]) -> set[int]:
    """Return the seeds whose test runs are there for all trainings but the slow ones."""
    tested = {(line["training"], line["number"]) for line in lines if line["role"] == "test"}
    keys = trainings_of(data, slow=False)
    return {seed for _, seed in tested if all((key, seed) in tested for key in keys)}


def add_result(result: dict[str, Any]) -> None:
    """Append a result line; two workers may write to the same file."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    with (RESULTS / f"{result['data']}.jsonl").open("a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps(result, separators=(",", ":")) + "\n")


def item_of(result: dict[str, Any]) -> Item:
    """Return the item that a result line belongs to."""
    return Item(result["data"], result["training"], result["role"], result["number"])


def plan() -> Iterator[Item]:
    """Yield every item in the order of the work."""
    for slow in (False, True):
        for stage, seeds in enumerate(SEED_STAGES):
            for name, data in DATA.items():
                keys = trainings_of(name, slow)
                if stage == 0:
                    yield from (Item(name, key, "trial", number) for key in keys for number in range(NUM_TRIALS))
                yield from (Item(name, key, "test", seed) for seed in seeds if seed < data.max_seeds for key in keys)


def done() -> set[Item]:
    """Return the items that have a result."""
    return {item_of(result) for name in DATA for result in read_results(name)}


def next_item(claims: Path, names: list[str]) -> Item | None:
    """Claim and return the next item that nobody has done or claimed, or None.

    A test run waits for the six trials of its training.

    Args:
        claims: folder of the claims of the running workers. Delete it before a new session.
        names: data sets to work on; empty: all.
    """
    claims.mkdir(parents=True, exist_ok=True)
    finished = done()
    for item in plan():
        if item in finished or (names and item.data not in names):
            continue
        trials = {Item(item.data, item.training, "trial", number) for number in range(NUM_TRIALS)}
        if item.role == "test" and not trials <= finished:
            continue
        try:
            os.close(os.open(claims / item.name.replace("/", "__"), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            continue
        return item
    return None
