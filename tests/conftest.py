"""Shared fixtures: the folder of the reference data, the golden arrays, and a way to run N ranks.

Test files are imported one by one (`--import-mode=importlib`) and cannot import each other, so helpers
come as fixtures.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent


def shared_folder() -> Path:
    """Return `$DIR_SHARED`, by default `../shared`; relative paths start at the root of the repository."""
    return (ROOT / os.environ.get("DIR_SHARED", "../shared")).resolve()


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder with `data/`; skip the test if the folder does not exist."""
    folder = shared_folder()
    if not (folder / "data").is_dir():
        pytest.skip(f"DIR_SHARED: shared data not found at {folder / 'data'}")
    return folder


@pytest.fixture(scope="session")
def golden() -> Callable[..., dict[str, np.ndarray]]:
    """Return a function that opens reference numbers: the committed file, or that of the shared data."""
    opened: dict[Path, dict[str, np.ndarray]] = {}

    def open_golden(name: str, *, key: str | None = None) -> dict[str, np.ndarray]:
        """Open a file; a committed subset without the array `key` is skipped."""
        folders = [TESTS / "golden", shared_folder() / "data" / "golden"]
        for path in (folder / name for folder in folders):
            if not path.is_file():
                continue
            if path not in opened:
                with np.load(path, allow_pickle=False) as archive:
                    opened[path] = dict(archive)
            if key is None or key in opened[path]:
                return opened[path]
        pytest.skip(f"DIR_SHARED: shared data not found at {folders[1] / name}")

    return open_golden


def load_module(path: Path) -> ModuleType:
    """Import a helper file of this folder by path."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def oracle() -> ModuleType:
    """Return the module `fds_oracle.py`, an FDS in NumPy with loops."""
    return load_module(TESTS / "fds/fds_oracle.py")


@pytest.fixture(scope="session")
def spawn_ranks(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[Any]]:
    """Return `spawn_ranks(function, world_size, *args)`, which returns the result of each rank.

    The function must stand at the top of a test file; arguments and results travel by `torch.save` and are
    tensors, numbers, strings, lists, tuples and dicts. A gloo group is up while it runs.
    """
    if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
        pytest.skip("torch.distributed with gloo is not built in")

    def spawn(function: Callable[..., Any], world_size: int, *args: Any, timeout: float = 120.0) -> list[Any]:
        folder = tmp_path_factory.mktemp("ranks")
        torch.save(args, folder / "args.pt")
        # A fork server imports slow modules once (DDP needs dynamo) and never forks a running thread.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["torch", "torch._dynamo", "torchmetrics", "pytest", "dir.recipe.train"])
        processes = []
        for rank in range(world_size):
            job = {
                "FILE": function.__code__.co_filename,
                "FUNCTION": function.__qualname__,
                "RANK": rank,
                "WORLD_SIZE": world_size,
                "FOLDER": str(folder),
            }
            process = context.Process(
                target=runpy.run_path,
                args=(str(TESTS / "rank_worker.py"),),
                kwargs={"init_globals": {"JOB": job}, "run_name": "__rank__"},
            )
            process.start()
            processes.append(process)
        for process in processes:
            process.join(timeout)
        hung = [rank for rank, process in enumerate(processes) if process.is_alive()]
        for rank in hung:
            processes[rank].terminate()
            processes[rank].join()
        failures = [path.read_text() for path in sorted(folder.glob("error_*.txt"))]
        if hung or failures or any(process.exitcode for process in processes):
            codes = [process.exitcode for process in processes]
            raise AssertionError(f"ranks hung: {hung}, exit codes {codes}\n" + "\n".join(failures))
        return [torch.load(folder / f"result_{rank}.pt", weights_only=True) for rank in range(world_size)]

    return spawn


@pytest.fixture(scope="session")
def nyud2_files() -> Callable[..., Path]:
    """Return a function that writes generated pictures in the published layout of NYUD2-DIR."""

    def write(folder: Path, train: int = 24, test: int = 4, size: tuple[int, int] = (32, 40)) -> Path:
        """Write 8-bit training maps of twelve places, 16-bit test maps in millimetres, and a mask of [12, 16]."""
        image = pytest.importorskip("PIL.Image")
        random = np.random.default_rng(0)
        rows: dict[str, list[str]] = {"train": [], "test": []}
        for number in range(train):
            place = f"nyu2_train/room_{number // 2 % 12:04d}{'ab'[number % 2]}_out"
            (folder / place).mkdir(parents=True, exist_ok=True)
            depth = (25 + random.random(size) ** 3 * 230).astype(np.uint8)
            image.fromarray(depth).convert("RGB").save(folder / place / f"{number}.jpg")
            image.fromarray(depth).save(folder / place / f"{number}.png")
            rows["train"].append(f"data/{place}/{number}.jpg,data/{place}/{number}.png")
        (folder / "nyu2_test").mkdir()
        for number in range(test):
            depth, name = (800 + random.random(size) * 9000).astype(np.uint16), f"nyu2_test/{number:05d}"
            image.fromarray((depth // 40).astype(np.uint8)).convert("RGB").save(folder / f"{name}_colors.png")
            image.fromarray(depth).save(folder / f"{name}_depth.png")
            rows["test"].append(f"data/{name}_colors.png,data/{name}_depth.png")
        for split, lines in rows.items():
            (folder / f"nyu2_{split}.csv").write_text("\n".join(lines) + "\n")
        np.save(folder / "test_balanced_mask.npy", (random.random((test, 12, 16)) < 0.5).astype(np.uint8))
        return folder

    return write
