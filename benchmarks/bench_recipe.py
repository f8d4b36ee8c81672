"""The recipe of a table beside a plain PyTorch loop that takes the same training steps.

Timed of the recipe: the training with its checkpoints, its TensorBoard log, its printed lines and its validation
metrics, up to the last checkpoint. Not timed on either side: imports, the composition of the config, reading the csv,
building the model, the first files of the run (config, split, figure of the label density), and the results
at its end (predictions, bundle, metrics.json).
"""

from __future__ import annotations

import contextlib
import io
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from benchmarks.plain_loop import Evaluation, plain_loop
from dir.recipe.cli import config_dir, register_configs
from dir.recipe.run_folder import RunFolder
from dir.recipe.train import fit, open_folder, prepare
from dir.recipe.two_stage import Stage, build_stages

ROOT = Path(__file__).resolve().parents[1]
DATA = (ROOT / os.environ.get("DIR_SHARED", "../shared")).resolve() / "data/tabular/abalone.csv"
EPOCHS, ROUNDS = 30, 3
# The time of the recipe over the time of the loop that computes the same metrics on val.
GATE = 1.3
LOOPS: dict[str, Evaluation] = {"loop": "metrics", "loop_mae": "mae", "loop_training": "none"}
# Returns the seconds of one run: processor time and wall time.
Timed = Callable[[Path], tuple[float, float]]


def _config(method: str) -> DictConfig:
    register_configs()
    overrides = ["+experiment=tabular", f"method={method}", f"data.path={DATA}", "data.target=Rings"]
    with initialize_config_dir(config_dir(), version_base="1.3"):
        return compose("train", [*overrides, f"trainer.max_epochs={EPOCHS}", "trainer.accelerator=cpu"])


def _stage(method: str, path: Path) -> Stage:
    (stage,) = build_stages(_config(method), RunFolder(path))
    return stage


def _seconds(action: Callable[[], object]) -> tuple[float, float]:
    process, wall = time.process_time(), time.perf_counter()
    action()
    return time.process_time() - process, time.perf_counter() - wall


def _recipe(method: str, path: Path) -> tuple[float, float]:
    run = prepare(_stage(method, path))
    # Without a terminal the recipe prints a line per epoch.
    with contextlib.redirect_stdout(io.StringIO()), run.stage.folder.in_use():
        open_folder(run)
        return _seconds(partial(fit, run))


def _loop(method: str, evaluation: Evaluation, path: Path) -> tuple[float, float]:
    parts = _stage(method, path).parts
    return _seconds(partial(plain_loop, parts.module, parts.data, EPOCHS, evaluation))


@pytest.mark.parametrize("method", ["vanilla", "lds_fds"])
def bench_recipe(
    method: str, benchmark: Any, record: Callable[..., None], pytestconfig: pytest.Config, tmp_path: Path
) -> None:
    if not DATA.is_file():
        pytest.skip(f"{DATA} not found: abalone is needed, see docs/tables.md")
    actions: dict[str, Timed] = {"recipe": partial(_recipe, method)}
    actions |= {name: partial(_loop, method, evaluation) for name, evaluation in LOOPS.items()}
    rounds = 1 if benchmark.disabled else ROUNDS
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in actions}
    for number in range(rounds + 1):  # the first round pays for imports, pages and caches
        for name, action in actions.items():
            found = action(tmp_path / f"{name}_{number}")
            if number:
                seconds[name].append(found)
    process, wall = (
        {name: statistics.median(pair[clock] for pair in pairs) for name, pairs in seconds.items()}
        for clock in (0, 1)
    )
    benchmark.pedantic(partial(actions["recipe"], tmp_path / "benchmark"), rounds=1, iterations=1)
    values = {"ours": process["recipe"], **{name: process[name] for name in LOOPS}}
    title = f"recipe of a table, abalone, {EPOCHS} epochs, method={method} (loop: plain PyTorch, same metrics)"
    record(f"recipe-abalone-{method}", values, title=title)
    ratios = {f"recipe / {name}": process["recipe"] / process[name] for name in LOOPS}
    benchmark.extra_info.update(
        ratios=[{"ratio": name, "value": value, "gate": None, "met": None} for name, value in ratios.items()],
        wall_ratios={f"recipe / {name}": wall["recipe"] / wall[name] for name in LOOPS},
        wall=wall,
    )
    print(f"\n{method}: {process} {ratios}\nwall: {wall} {benchmark.extra_info['wall_ratios']}")
    if pytestconfig.getoption("--gates"):
        assert ratios["recipe / loop"] <= GATE
