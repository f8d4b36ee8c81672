"""Small runs of the engine that leave a bundle, one for each kind of data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir

from dir.recipe.cli import config_dir, register_configs
from dir.recipe.run_folder import RunFolder
from dir.recipe.train import train

Run = Callable[..., Path]


@pytest.fixture(scope="session")
def run_once(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """`run_once("+experiment=tabular", ...)` -> the folder of a finished run of one or two epochs; cached."""
    register_configs()
    done: dict[tuple[str, ...], Path] = {}

    def run(*overrides: str) -> Path:
        if overrides not in done:
            with initialize_config_dir(config_dir(), version_base="1.3"):
                fixed = ["trainer.max_epochs=2", "trainer.accelerator=cpu", "logger=none"]
                cfg = compose("train", [*fixed, *overrides])
            path = tmp_path_factory.mktemp("run") / "seed_0"
            train(cfg, RunFolder(path), {"method": "test"})
            done[overrides] = path
        return done[overrides]

    return run


def houses(rows: int, seed: int = 0) -> pd.DataFrame:
    """A table with two categories (one of them numbers), two numbers and an identity that is no feature."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, 2))
    kind = random.choice(["a", "b", "c"], rows)
    floor = random.choice([1, 2, 3], rows)
    price = 100 * np.exp(x[:, 0]) + 50 * (kind == "b") + 10 * floor + random.normal(size=rows)
    return pd.DataFrame(
        {"id": np.arange(rows), "kind": kind, "floor": floor, "u": x[:, 0], "v": 1e6 * x[:, 1], "price": price}
    )


@pytest.fixture(scope="session")
def table_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A csv with rows to train on and one with test rows."""
    folder = tmp_path_factory.mktemp("tables")
    houses(300).to_csv(folder / "train.csv", index=False)
    houses(40, seed=1).to_csv(folder / "test.csv", index=False)
    return folder / "train.csv", folder / "test.csv"


@pytest.fixture(scope="session")
def table_run(run_once: Run, table_files: tuple[Path, Path]) -> Run:
    """`table_run("method=lds")` -> a run on the table whose test rows are those of test.csv."""
    train_csv, test_csv = table_files

    def run(*overrides: str) -> Path:
        return run_once(
            "+experiment=tabular",
            f"data.path={train_csv}",
            f"data.test_path={test_csv}",
            "data.target=price",
            "data.drop=[id]",
            "data.categorical=[kind,floor]",
            *overrides,
        )

    return run
