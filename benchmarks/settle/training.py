"""One training of the table: compose the config, train as scripts/train.py does, and return a result line."""

from __future__ import annotations

import contextlib
import functools
import io
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from benchmarks.reproduce import with_paths
from benchmarks.settle.measures import TrainLabels, objective, rows_of, train_labels
from benchmarks.settle.plan import DATA, NUM_TRIALS, TRIAL_SEED, overrides_of, trials
from benchmarks.settle.queue import Item, read_results
from dir.recipe.cli import config_dir
from dir.recipe.run_folder import RunFolder
from dir.recipe.run_info import commit
from dir.recipe.train import train

_QUIET = ("logger=none", "trainer.enable_progress_bar=false")


@functools.cache
def code_commit() -> str | None:
    """Return the commit of the code that this process has imported.

    The result lines that workers write into the checkout are no change of the code.
    """
    return commit(ignored=("benchmarks/settle/results",))


def compose_config(overrides: list[str], folder: Path) -> DictConfig:
    """Return the config of a run; ``folder`` holds the data files at any depth."""
    with initialize_config_dir(config_dir(), version_base="1.3"):
        return compose("train", [*with_paths(overrides, folder), *_QUIET])


def chosen_trial(item: Item) -> dict[str, Any]:
    """Return the trial of the item's training with the lowest objective; a trial that failed has none."""
    found = [
        result
        for result in read_results(item.data)
        if result["role"] == "trial" and result["training"] == item.training and result["objective"] is not None
    ]
    if not found:
        raise RuntimeError(f"{item.name}: none of the {NUM_TRIALS} trials succeeded. Look at their errors.")
    return min(found, key=lambda result: (result["objective"], result["number"]))


def run_overrides(item: Item, folder: Path) -> list[str]:
    """Return all overrides of an item, with file names in place of paths."""
    own = overrides_of(item.data, item.training)
    if item.role == "test":
        return [*own, *chosen_trial(item)["choice"], f"seed={item.number}"]
    rate = float(compose_config(own, folder).optimizer.lr)
    return [*own, *trials(item.data, item.training, rate)[item.number], f"seed={TRIAL_SEED}"]


@functools.lru_cache(maxsize=4)
def _labels(overrides: tuple[str, ...], folder: Path) -> TrainLabels:
    return train_labels(compose_config(list(overrides), folder))


def run_item(item: Item, folder: Path, scratch: Path) -> dict[str, Any]:
    """Train an item and return its result line. The run folder is removed.

    A trial keeps validation metrics alone: nothing of its test split is computed here.
    """
    overrides = run_overrides(item, folder)
    own = overrides_of(item.data, item.training)
    line: dict[str, Any] = {
        "data": item.data,
        "training": item.training,
        "role": item.role,
        "number": item.number,
        "choice": [part for part in overrides if part not in own and not part.startswith("seed=")],
        "overrides": overrides,
        "commit": code_commit(),
        "torch": torch.__version__,
    }
    # The name says experiment, method and seed, as the readers of run folders expect.
    run = scratch / item.data / item.training / f"seed_{item.number},{item.role}"
    shutil.rmtree(run, ignore_errors=True)
    started, printed = time.perf_counter(), io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            train(
                compose_config(overrides, folder), RunFolder(run), {"method": item.training, "overrides": overrides}
            )
        line["seconds"] = round(time.perf_counter() - started, 1)
        if item.role == "trial":
            line["objective"] = objective(item.training, run)
        else:
            # The split of a table depends on the seed, all other labels on the data set alone.
            seed = overrides[-1] if DATA[item.data].kind == "table" else f"seed={TRIAL_SEED}"
            line["rows"] = rows_of(item.training, run, _labels((*DATA[item.data].overrides, seed), folder))
    except (ValueError, RuntimeError) as error:
        # A failed trial is a result: a rate at which the training diverges, or labels that a resampler refuses.
        if item.role == "test":
            raise
        line |= {"objective": None, "error": str(error)[:500]}
    finally:
        shutil.rmtree(run, ignore_errors=True)
    return line
