"""The short search of ``dir-recommend``: a table without its test rows, candidates, and their runs."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from dir._archives import read_npz
from dir._atomic import write_atomic
from dir._checks import message
from dir.commands.judging import Rows
from dir.commands.sources import compose_config
from dir.compare.tradeoff import read_saved
from dir.data.csv_reading import csv_row_ids, read_cells
from dir.data.identity import unique_ids
from dir.data.tabular import TabularData
from dir.posthoc import Posthoc
from dir.recipe.nodes import instantiate_with
from dir.recipe.run_folder import RunFolder

Array = NDArray[np.float64]
SPLIT_COLUMN = "dir_split"
# Kinds of columns that are features, in the report of the data.
_FEATURES = ("number", "category", "date", "letters", "target", "importance")
# Settings that draw the split. The search file has the split in a column.
_DRAWS = ("test_path", "group", "time", "val_from", "test_from")
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


def table_config(overrides: Sequence[str]) -> DictConfig:
    """Return the config of a table.

    Raises:
        ValueError: Hydra or the checks refuse an override, or the data is no table.
    """
    cfg = compose_config(overrides)
    if cfg.data["_target_"] != "dir.data.TabularData":
        advice = "Give data.path=FILE.csv data.target=COLUMN."
        raise ValueError(message("data", "dir-recommend searches for tables alone", cfg.data["_target_"], advice))
    return cfg


def write_search_file(cfg: DictConfig, target: Path) -> list[str]:
    """Write the training and validation rows of a table, with their split in a column, and no test row.

    The rows named ``test`` are copies of the validation rows, because a recipe needs some. The split is that of
    ``dir-train`` with the same settings and seed.

    Returns:
        The columns that are no features.

    Raises:
        ValueError: the table cannot be read, or has a column of the name that the search needs.
    """
    data: TabularData = instantiate_with(cfg.data)
    data.setup()
    kept = data.split_ids()
    path, options = data.source.path, data.source.options
    header, lines, _ = read_cells(path, options)
    if SPLIT_COLUMN in header:
        raise ValueError(message(str(path), f"the file has a column {SPLIT_COLUMN!r}", advice="Rename it."))
    rows = dict(zip(unique_ids(csv_row_ids(path, data.target, options)), lines, strict=True))
    text = io.StringIO()
    writer = csv.writer(text, delimiter=options.sep, lineterminator="\n")
    writer.writerow([*header, SPLIT_COLUMN])
    for name, split in (("train", "train"), ("val", "val"), ("test", "val")):
        writer.writerows([*rows[one], name] for one in kept[split])
    write_atomic(target, text.getvalue().encode(options.encoding))
    columns: dict[str, dict[str, Any]] = data.describe()["columns"]
    return [name for name, column in columns.items() if column["kind"] not in _FEATURES]


class Search:
    """The folder of a search: its table, its settings and its runs. A search can go on later.

    Args:
        folder: the folder.
        overrides: the data and further settings, with ``+experiment=tabular``.

    Raises:
        ValueError: the folder belongs to a search with other settings or other data.
    """

    def __init__(self, folder: Path, overrides: Sequence[str]) -> None:
        self.folder = folder
        self.overrides = tuple(overrides)
        # Overrides that the report of the labels suggests, set before the first run.
        self.suggested: tuple[str, ...] = ()
        # Reasons of the trainings that failed in this call.
        self.failures: dict[str, str] = {}
        self.table = folder / "train_val.csv"
        cfg = table_config(overrides)
        for method in dict.fromkeys(run[0] for run in RUNS.values()):
            compose_config([*overrides, method])
        # The digest of the file without its test rows: other test rows are the same search.
        fresh = folder / "new.csv"
        try:
            self.drop = write_search_file(cfg, fresh)
            facts = {"overrides": list(overrides), "rows": hashlib.sha256(fresh.read_bytes()).hexdigest()}
            kept = folder / "search.json"
            if kept.is_file() and json.loads(kept.read_text(encoding="utf-8")) != facts:
                advice = "Choose another --folder, or remove this one."
                raise ValueError(message("--folder", f"{folder} holds another search", advice=advice))
            fresh.replace(self.table)
            write_atomic(kept, (json.dumps(facts, indent=1) + "\n").encode())
        finally:
            fresh.unlink(missing_ok=True)

    def config(self, overrides: Sequence[str], seed: int = 0) -> DictConfig:
        """Return the config of a run on the table of the search."""
        cfg = compose_config([*self.overrides, *self.suggested, *overrides, f"seed={seed}", "logger=none"])
        with_data = OmegaConf.to_container(cfg.data, resolve=True)
        assert isinstance(with_data, dict)
        with_data |= {key: None for key in _DRAWS if key in with_data}
        with_data |= {"path": str(self.table), "split": "balanced", "split_column": SPLIT_COLUMN}
        with_data["drop"] = sorted({*with_data["drop"], *self.drop} - {SPLIT_COLUMN})
        cfg.data = with_data
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
        plan = [(run, seed) for seed in range(seeds) for run in RUNS if seed == 0 or not is_tree(run)]
        open_ones = [(run, seed) for run, seed in plan if seed not in self.finished(run)]
        for number, (run, seed) in enumerate(open_ones):
            left = 60 * minutes - (time.monotonic() - began)
            nothing_yet = number == 0 and not any(self.finished(name) for name in RUNS)
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
        # Importing Lightning takes seconds.
        from dir.recipe.cli import is_user_error
        from dir.recipe.train import train

        folder = RunFolder(self.run_folder(run, seed))
        cfg = self.config(RUNS[run], seed)
        cfg.resume = folder.path.is_dir() and any(folder.path.iterdir())
        with self._quietly():
            try:
                train(cfg, folder, {"method": run, "overrides": list(RUNS[run])})
            except Exception as error:
                if not is_user_error(error):
                    raise
                return str(error)
        return ""

    @contextlib.contextmanager
    def _quietly(self) -> Iterator[None]:
        """Send the tables of a run to search.log: they show the copies of the validation rows as test rows."""
        with (self.folder / "search.log").open("a", encoding="utf-8") as log, contextlib.redirect_stdout(log):
            yield


def read_validation(path: Path) -> tuple[Rows, Array]:
    """Return the validation rows and predictions of a run of the search."""
    names = ("val_label", "val_bin", "val_shot", "val_prediction")
    label, index, shot, prediction = (read_npz(path / "predictions.npz", [name])[name] for name in names)
    return Rows(label.astype(np.float64), index, shot), prediction.astype(np.float64)


def read_powers(path: Path) -> list[tuple[float, Array]]:
    """Return the validation predictions of a run with a label prior at each power."""
    saved = read_saved(path)
    return [(power, saved.predict("val", power)) for power in POWERS]
