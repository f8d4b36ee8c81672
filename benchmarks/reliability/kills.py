"""Row: a run that is killed and resumed ends like an uninterrupted run."""

from __future__ import annotations

import random
import shutil
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.reliability.killed_runs import Runs, differences
from benchmarks.reliability.rows import Case, Row, some

KILLED = -signal.SIGKILL
TWO_STAGES = ("method=rrt", "trainer.max_epochs=2", "method.retrain.epochs=2")


def _cases(folder: Path, short: bool) -> Iterator[Case]:
    runs = Runs(folder)
    try:
        yield from _every_moment(runs, "whole", (), short)
        if not short:
            yield from _every_moment(runs, "stages", TWO_STAGES, short, every=4)
            yield from _several_times(runs)
    finally:
        runs.close()


def _every_moment(runs: Runs, name: str, settings: Sequence[str], short: bool, every: int = 1) -> Iterator[Case]:
    """Kill a run at its moments, resume each and compare it with the uninterrupted run."""
    runs.finish(name, *settings)
    names = runs.moments(name)
    for moment in some(range(names.index("open .lock") + 1, len(names), every), short):
        killed = f"{name}_{moment}"
        code = runs.run(killed, *settings, moment=moment)
        yield _resumed(runs, name, killed, settings, f"{names[moment]} ({killed})", code == KILLED)


def _several_times(runs: Runs, count: int = 10) -> Iterator[Case]:
    """Kill a run four times, each time at another moment of the resumed run."""
    draw = random.Random(0)
    for number in range(count):
        killed = f"again_{number}"
        moments = [draw.randrange(3, 30) for _ in range(4)]
        codes = [runs.run(killed, moment=moment, resume=index > 0) for index, moment in enumerate(moments)]
        yield _resumed(runs, "whole", killed, (), f"killed at {moments}", KILLED in codes)


def _resumed(runs: Runs, whole: str, killed: str, settings: Sequence[str], case: str, was_killed: bool) -> Case:
    """Resume a killed run, compare it with the uninterrupted run, and remove its folder."""
    path = runs.folder / killed
    if not was_killed:
        return Case(case, "not killed", runs.log(killed))
    if (path / "metrics.json").is_file():  # killed while it released the folder: it had finished
        (path / ".lock").unlink(missing_ok=True)
    elif runs.run(killed, *settings, resume=True):
        return Case(case, "not resumed", runs.log(killed))
    found = differences(runs.folder / whole, path)
    shutil.rmtree(path)
    return Case(case, "differs" if found else "same", ", ".join(found))


ROW = Row(
    "kills",
    "A run that is killed at any moment and resumed with `resume=true` ends like an uninterrupted run, bit for bit.",
    "SIGKILL at every moment of a run: each training and validation step, and each file that is opened, half "
    "written, renamed, linked or removed; at every fourth moment of a run with two stages; four times in one run. "
    "predictions.npz, metrics.json, the weights of the bundle and all values of the checkpoints are compared.",
    _cases,
)
