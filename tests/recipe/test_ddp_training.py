"""Whole runs on two and three ranks: they equal one process with the joined batches."""

from __future__ import annotations

import csv
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

import dir.recipe.train as recipe
from dir.recipe import two_stage
from dir.recipe.checkpoints import RunCheckpoint
from dir.recipe.module import RegressionModule
from dir.recipe.run_folder import RunFolder

TINY = Path(__file__).parent / "tiny"
EPOCHS, BATCH = 3, 48
# No dropout and no batch norm; four joined batches; odd numbers of validation rows.
EQUAL = ("model.encoder.dropout=0", "data.sizes=[192,61,59]", f"trainer.max_epochs={EPOCHS}", "logger=csv")
SETTINGS = {
    "lds_fds": ("method=lds_fds",),
    "srl": ("method=srl", "task.srl.weight=0.5"),
    "rrt": ("method=rrt", "trainer.max_epochs=1"),
}


def run(config: str, folder: str) -> list[dict[str, torch.Tensor]]:
    """Return the module's state and the validation metrics at the end of each epoch of one run in this process."""
    seen: list[dict[str, torch.Tensor]] = []
    original = RegressionModule.on_train_epoch_end

    def closing(module: RegressionModule) -> None:
        original(module)
        values = {name: value.detach().clone() for name, value in module.state_dict().items()}
        metrics = module.trainer.callback_metrics
        seen.append(values | {name: value.clone() for name, value in metrics.items() if name.startswith("val/")})

    RegressionModule.on_train_epoch_end = closing
    try:
        recipe.train(OmegaConf.create(config), RunFolder(Path(folder)), {"method": "test"})
    finally:
        RegressionModule.on_train_epoch_end = original
    return seen


class InterruptedRunError(Exception):
    """Interrupts a run."""


def run_resumed(config: str, folder: str, last_epoch: int) -> list[dict[str, torch.Tensor]]:
    """Interrupt a run after `last_epoch`, resume it, and return the states of the resumed part."""
    original = RegressionModule.on_train_epoch_start

    def interrupt(module: RegressionModule) -> None:
        original(module)
        if module.current_epoch == last_epoch:
            raise InterruptedRunError

    RegressionModule.on_train_epoch_start = interrupt
    try:
        run(config, folder)
    except InterruptedRunError:
        pass
    finally:
        RegressionModule.on_train_epoch_start = original
    return run(config.replace("resume: false", "resume: true"), folder)


def start(rank: int, world_size: int, tiny: str) -> None:
    """Set the variables of torchrun in a process that has imported Lightning before."""
    from lightning.pytorch.utilities import rank_zero_only

    places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world_size, "LOCAL_WORLD_SIZE": world_size}
    os.environ |= {name: str(value) for name, value in places.items()}
    os.environ |= {"GROUP_RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "0", "TORCHELASTIC_RUN_ID": "test"}
    rank_zero_only.rank = rank
    sys.path.insert(0, tiny)


def run_rank(rank: int, world_size: int, tiny: str, jobs: list[tuple[str, str]]) -> list[Any]:
    start(rank, world_size, tiny)
    return [run(config, folder) for config, folder in jobs]


def run_twice(rank: int, world_size: int, tiny: str, config: str, folder: str) -> list[Any]:
    start(rank, world_size, tiny)
    return [run(config, f"{folder}/straight"), run_resumed(config, f"{folder}/resumed", last_epoch=1)]


def run_without_best(rank: int, world_size: int, tiny: str, config: str, folder: str) -> list[Any]:
    """Interrupt a run, remove its best.ckpt, and resume it with best=recompute.

    Return the values that this rank took for the best, and the states of an uninterrupted run and of the resumed one.
    """
    start(rank, world_size, tiny)
    straight = run(config, f"{folder}/straight")
    resumed, best = Path(folder) / "resumed", Path(folder) / "resumed/checkpoints/best.ckpt"
    again, load = config.replace("best: null", "best: recompute"), RunCheckpoint.load_state_dict
    values: list[float] = []

    def watched(callback: RunCheckpoint, state: dict[str, Any]) -> None:
        load(callback, state)
        if callback.monitor is not None:
            values.append(float(callback.best_model_score))

    RunCheckpoint.load_state_dict = watched
    original = recipe.prepare

    def without_best(stage: Any, *further: Any) -> Any:
        best.unlink(missing_ok=True)
        return original(stage, *further)

    recipe.prepare = without_best
    return [values, straight, run_resumed(again, str(resumed), last_epoch=1)]


def run_two_stages(rank: int, world_size: int, tiny: str, config: str, folder: str) -> list[Any]:
    """Return the states of both stages, and whether the first had ended when this rank loaded its encoder."""
    start(rank, world_size, tiny)
    evaluate, load = recipe.evaluate_splits, two_stage.load_encoder
    ended: list[int] = []

    def slow(*given: Any) -> Any:
        time.sleep(0.5)
        return evaluate(*given)

    def watched(*given: Any) -> None:
        ended.append(int((Path(folder) / "stage_1/metrics.json").is_file()))
        load(*given)

    recipe.evaluate_splits, two_stage.load_encoder = slow, watched
    return [ended, run(config, folder)]


@pytest.fixture
def config(tiny: Callable[..., DictConfig]) -> Callable[..., str]:
    """Return the resolved config of a method for a number of ranks, as text."""

    def composed(method: str, world_size: int, *more: str) -> str:
        ranks = (f"data.batch_size={BATCH // world_size}", f"trainer.devices={world_size}")
        return OmegaConf.to_yaml(tiny(*EQUAL, *SETTINGS[method], *ranks, *more), resolve=True)

    return composed


def logged(folder: Path) -> list[dict[str, str]]:
    """Return the rows of the only log of a run."""
    (path,) = folder.rglob("metrics.csv")
    return list(csv.DictReader(path.open()))


@pytest.mark.parametrize("world_size", [2, 3], ids=["two ranks", "three ranks"])
def test_equal_batches_train_as_one_process_on_the_joined_ones(
    config: Callable[..., str], spawn_ranks: Any, tmp_path: Path, world_size: int
) -> None:
    jobs = [(config(method, world_size), str(tmp_path / method)) for method in ("lds_fds", "srl")]
    ranks = spawn_ranks(run_rank, world_size, str(TINY), jobs)
    alone = run(config("lds_fds", 1), str(tmp_path / "alone"))
    assert int(alone[-1]["model.fds.epoch"]) == len(alone) == EPOCHS
    assert float(alone[0]["model.fds.shift"].abs().max()) > 0.01
    for found, _ in ranks:
        for epoch, wanted in enumerate(alone):
            assert found[epoch].keys() == wanted.keys()
            for name, value in wanted.items():
                message = f"{name} in epoch {epoch}"
                torch.testing.assert_close(found[epoch][name], value, rtol=1e-5, atol=1e-5, msg=message)
    one, several = logged(tmp_path / "alone"), logged(tmp_path / "lds_fds")
    for wanted_row, row in zip(one, several, strict=True):
        assert row.keys() == wanted_row.keys()
        found_row, numbers = ({k: float(v) for k, v in some.items() if v} for some in (row, wanted_row))
        for values in (found_row, numbers):
            values.pop("train/loss", None)  # of the first rank's samples
        assert found_row == pytest.approx(numbers, rel=1e-4)
    first, second = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("alone", "lds_fds"))
    for split in ("val", "test"):
        assert second[split]["all"] == pytest.approx(first[split]["all"], rel=1e-5)

    # SRL is the same up to the second epoch: in the first its term is 0, then each rank uses its batch.
    surrogate = run(config("srl", 1), str(tmp_path / "srl_alone"))[0]["regularizers.0.centers"]
    for _, found in ranks:
        assert [float(epoch["regularizers.0.live"]) for epoch in found] == [1.0] * EPOCHS
        torch.testing.assert_close(found[0]["regularizers.0.centers"], surrogate, rtol=1e-5, atol=1e-5)
        for epoch, of_first in zip(found, ranks[0][1], strict=True):
            for name, value in of_first.items():
                assert torch.equal(epoch[name], value) or name.startswith(("metrics.", "regularizers.0.sums.")), name


def test_run_of_two_ranks_resumes_to_the_last_digit(
    config: Callable[..., str], spawn_ranks: Any, tmp_path: Path
) -> None:
    """With dropout, the random state of a rank depends on (seed, epoch, rank). Shards are uneven."""
    text = config("lds_fds", 2, "model.encoder.dropout=0.3", "data.sizes=[197,61,59]")
    assert "resume: false" in text
    ranks = spawn_ranks(run_twice, 2, str(TINY), text, str(tmp_path))
    for straight, resumed in ranks:
        assert len(straight) == EPOCHS
        assert len(resumed) == EPOCHS - 1
        for name, value in straight[-1].items():
            assert torch.equal(resumed[-1][name], value), name
    counted = ranks[0][0][-1]["model.fds.num_samples"].sum()
    assert int(counted) == 197 * EPOCHS, "the odd row of the first rank is not doubled on the second"
    straight, resumed = (
        json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("straight", "resumed")
    )
    assert resumed["test"] == straight["test"]
    assert resumed["run"]["epochs"] == straight["run"]["epochs"] == EPOCHS


def test_best_of_two_ranks_is_recomputed_once_and_known_to_both(
    config: Callable[..., str], spawn_ranks: Any, tmp_path: Path
) -> None:
    text = config("lds_fds", 2)
    assert "best: null" in text
    ranks = spawn_ranks(run_without_best, 2, str(TINY), text, str(tmp_path))
    for values, straight, resumed in ranks:
        # One epoch was finished: it is the best, and the value is that of its validation by both ranks.
        assert values == [pytest.approx(float(straight[0]["val/all/mae"]), rel=1e-5)]
        assert values == ranks[0][0]
        for name, value in straight[-1].items():
            assert torch.equal(resumed[-1][name], value), name
    first, second = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("straight", "resumed"))
    assert second["test"] == first["test"]
    assert second["run"]["best_epoch"] == first["run"]["best_epoch"]


def test_two_stages_of_two_ranks_train_as_one_process_does_one_stage_after_the_other(
    config: Callable[..., str], spawn_ranks: Any, tmp_path: Path
) -> None:
    ranks = spawn_ranks(run_two_stages, 2, str(TINY), config("rrt", 2), str(tmp_path / "two"))
    alone = run(config("rrt", 1), str(tmp_path / "alone"))
    assert len(alone) == 2
    for ended, found in ranks:
        assert ended == [1], "the first process evaluates the first stage before the second begins"
        for stage, wanted in enumerate(alone):
            assert found[stage].keys() == wanted.keys()
            for name, value in wanted.items():
                message = f"{name} of stage {stage + 1}"
                torch.testing.assert_close(found[stage][name], value, rtol=1e-5, atol=1e-5, msg=message)
    first, second = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("alone", "two"))
    assert second["test"]["all"] == pytest.approx(first["test"]["all"], rel=1e-5)
    assert second["run"]["stage_1"]["epochs"] == second["run"]["epochs"] == 1
