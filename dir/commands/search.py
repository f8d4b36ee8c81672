"""The short search of ``dir-recommend``: candidates, and their runs without test rows."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig

from dir._archives import read_npz
from dir._atomic import write_atomic
from dir._checks import message
from dir.commands.closed_runs import differences, row_hashes, train_closed
from dir.commands.judging import Rows
from dir.commands.sources import compose_config
from dir.compare.tradeoff import read_saved
from dir.data.base import RegressionData
from dir.posthoc import Posthoc
from dir.recipe.nodes import instantiate_with
from dir.recipe.run_folder import RunFolder
from dir.recipe.several_targets import refuse_several

Array = NDArray[np.float64]
POWERS = tuple(round(0.05 * step, 2) for step in range(25))


@dataclass(frozen=True)
class Candidate:
    """A model that may be recommended.

    Args:
        name: as in the printed table.
        run: name of the training that it needs; a key of :data:`RUNS`.
        overrides: with which ``dir-train`` trains it.
        correction: correction after the training; None for none.
    """

    name: str
    run: str
    overrides: tuple[str, ...]
    correction: Posthoc | None = None


# Trainings in the order in which the budget is spent: trees first, they are fast.
RUNS: dict[str, tuple[str, ...]] = {
    "hist_gbdt": ("method=hist_gbdt",),
    "hist_gbdt_sqinv": ("method=hist_gbdt", "method.weights=sqinv"),
    "hist_gbdt_lds": ("method=hist_gbdt", "method.weights=lds"),
    "vanilla": ("method=vanilla",),
    "lds": ("method=lds",),
    "histogram_prior": ("method=histogram_prior",),
}
CANDIDATES = (
    Candidate("trees", "hist_gbdt", RUNS["hist_gbdt"]),
    Candidate("trees, sqinv weights", "hist_gbdt_sqinv", RUNS["hist_gbdt_sqinv"]),
    Candidate("trees, lds weights", "hist_gbdt_lds", RUNS["hist_gbdt_lds"]),
    Candidate("network", "vanilla", RUNS["vanilla"]),
    Candidate("network, lds weights", "lds", RUNS["lds"]),
    Candidate("network, isotonic", "vanilla", ("method=isotonic",), "isotonic"),
    Candidate("network, lds weights, isotonic", "lds", ("method=lds_isotonic",), "isotonic"),
    Candidate("network, label prior", "histogram_prior", RUNS["histogram_prior"]),
)
PLAIN = ("trees", "network")


def is_tree(run: str) -> bool:
    """Return whether a training fits trees, whose result does not depend on the seed."""
    return run.startswith("hist_gbdt")


class Search:
    """The folder of a search: its settings, its split and its runs. A search can go on later.

    All runs have the split that ``dir-train`` draws with the given settings and seed, whatever their own seed, and
    their test rows are closed.

    Args:
        folder: the folder.
        overrides: the data and further settings, with ``+experiment=NAME``.

    Raises:
        ValueError: the folder belongs to a search with other settings or other training or validation rows.
    """

    def __init__(self, folder: Path, overrides: Sequence[str]) -> None:
        self.folder = folder
        self.overrides = tuple(overrides)
        # Overrides that the report of the labels suggests, set before the first run.
        self.suggested: tuple[str, ...] = ()
        # Reasons of the trainings that failed in this call.
        self.failures: dict[str, str] = {}
        cfg = compose_config(overrides)
        refuse_several(cfg, "dir-recommend searches for a model of one target")
        table = cfg.data["_target_"] == "dir.data.TabularData"
        self.runs = {name: lines for name, lines in RUNS.items() if table or not is_tree(name)}
        for method in dict.fromkeys(lines[0] for lines in self.runs.values()):
            compose_config([*overrides, method])
        data: RegressionData = instantiate_with(cfg.data)
        data.setup()
        hashes = row_hashes(data)
        self.split = data.split_ids()
        # Other test rows are the same search.
        facts = {"overrides": list(overrides), "train rows": hashes["train"], "val rows": hashes["val"]}
        kept = folder / "search.json"
        if kept.is_file():
            changed = differences(json.loads(kept.read_text(encoding="utf-8")), facts)
            if changed:
                advice = "Choose another --folder, or remove this one."
                raise ValueError(message("--folder", f"{folder} holds another search: {changed}", advice=advice))
        else:
            write_atomic(kept, (json.dumps(facts, indent=1) + "\n").encode())

    def set_up(self, data: RegressionData) -> None:
        """Set a data module up with the split of the search, and close its test rows."""
        data.restore_split(self.split)
        data.close_test()

    def config(self, overrides: Sequence[str], seed: int = 0) -> DictConfig:
        """Return the config of a run of the search."""
        own = [line for line in self.overrides if not line.startswith("seed=")]
        cfg = compose_config([*own, *self.suggested, *overrides, f"seed={seed}", "logger=none"])
        cfg.trainer.enable_progress_bar = False
        return cfg

    def run_folder(self, run: str, seed: int) -> Path:
        """Return the folder of a run."""
        return self.folder / "runs" / run / f"seed_{seed}"

    def finished(self, run: str) -> list[int]:
        """Return the seeds of the finished runs of a training, ascending."""
        return sorted(
            int(path.parent.name.removeprefix("seed_"))
            for path in (self.folder / "runs" / run).glob("seed_*/metrics.json")
        )

    def spend(self, minutes: float, seeds: int, say: Callable[[str], None]) -> list[str]:
        """Train until the budget is spent, and return the trainings that it did not reach.

        The first training always runs. A training that has begun ends, whatever the budget.

        Args:
            minutes: the budget.
            seeds: seeds of each network. Trees have one.
            say: called with a line about each training.
        """
        began = time.monotonic()
        plan = [(run, seed) for seed in range(seeds) for run in self.runs if seed == 0 or not is_tree(run)]
        open_ones = [(run, seed) for run, seed in plan if seed not in self.finished(run)]
        for number, (run, seed) in enumerate(open_ones):
            left = 60 * minutes - (time.monotonic() - began)
            nothing_yet = number == 0 and not any(self.finished(name) for name in self.runs)
            if left <= 0 and not nothing_yet:
                return [f"{name}, seed {one}" for name, one in open_ones[number:]]
            started = time.monotonic()
            failure = self._train(run, seed)
            if failure:
                self.failures[f"{run}, seed {seed}"] = failure
            seconds = time.monotonic() - started
            say(f"{run}, seed {seed}: {f'failed, {failure}' if failure else f'{seconds:.1f} s'}")
        return []

    def _train(self, run: str, seed: int) -> str:
        """Train, and return the reason of a failure or an empty text."""
        from dir.recipe.cli import is_user_error

        cfg = self.config(self.runs[run], seed)
        folder, info = RunFolder(self.run_folder(run, seed)), {"method": run, "overrides": list(self.runs[run])}
        try:
            train_closed(cfg, folder, info, self.folder / "search.log", set_up=self.set_up)
        except Exception as error:
            if not is_user_error(error):
                raise
            return str(error)
        return ""


def read_validation(path: Path) -> tuple[Rows, Array]:
    """Return the validation rows and predictions of a run of the search."""
    names = ("val_label", "val_bin", "val_shot", "val_prediction")
    label, index, shot, prediction = (read_npz(path / "predictions.npz", [name])[name] for name in names)
    return Rows(label.astype(np.float64), index, shot), prediction.astype(np.float64)


def read_powers(path: Path) -> list[tuple[float, Array]]:
    """Return the validation predictions of a run with a label prior at each power."""
    saved = read_saved(path)
    return [(power, saved.predict("val", power)) for power in POWERS]
