"""Small tables, pictures and finished runs that the rows damage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from benchmarks.reliability import commands

TABLE = ("+experiment=tabular", "data.target=price", "trainer.max_epochs=2")


def houses(rows: int = 120, **changes: Any) -> pd.DataFrame:
    """Return a table with two numbers, a category and the target ``price``."""
    draw = np.random.default_rng(0)
    content = {
        "size": draw.normal(100.0, 20.0, rows).round(3),
        "rooms": draw.integers(1, 9, rows),
        "kind": draw.choice(["a", "b", "c"], rows),
    }
    price = 3 * content["size"] + 20 * content["rooms"] + draw.gamma(2.0, 30.0, rows)
    return pd.DataFrame(content | {"price": price.round(2)} | changes)


def table_run(folder: Path, method: str = "vanilla", *more: str) -> Path:
    """Train on ``houses.csv`` in a folder, and return the run folder."""
    houses().to_csv(folder / "houses.csv", index=False)
    run = folder / method
    settings = (*TABLE, f"data.path={folder / 'houses.csv'}", f"method={method}", f"hydra.run.dir={run}", *more)
    done = commands.train(folder, folder / f"{method}.log", *settings)
    if done.code or not (run / "metrics.json").is_file():
        raise RuntimeError(done.output[-2000:])
    return run


def picture_arrays(count: int = 60) -> dict[str, np.ndarray]:
    """Return grey pictures with labels and splits."""
    draw = np.random.default_rng(0)
    return {
        "images": draw.integers(0, 256, (count, 12, 10), dtype=np.uint8),
        "angle": draw.integers(0, 90, count).astype(np.float64),
        "split": np.arange(count) % 3,
    }


def picture_files(folder: Path, count: int = 9) -> Path:
    """Write pictures and the csv file that lists them, and return the csv file."""
    draw = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    for number in range(count):
        Image.fromarray(draw.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(folder / f"images/{number}.png")
    names = ("train", "val", "test")
    table = {
        "age": np.arange(count) + 20,
        "path": [f"{number}.png" for number in range(count)],
        "split": [names[number % 3] for number in range(count)],
    }
    pd.DataFrame(table).to_csv(folder / "faces.csv", index=False)
    return folder / "faces.csv"
