"""The runs of a search have the training and validation rows of dir-train, whatever their seed, and no test rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf

from dir.commands.search import RUNS, Search
from dir.commands.sources import compose_config, with_experiment
from dir.data import TabularData
from dir.recipe.nodes import instantiate_with
from dir.recipe.schema import register_configs


def data_of(cfg: OmegaConf) -> TabularData:
    found: TabularData = instantiate_with(cfg.data)  # type: ignore[attr-defined]
    found.setup()
    return found


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Return a csv with semicolons, quoted texts, copies of rows, missing values, and columns with every role."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "size": random.normal(size=300).round(2),
            "kind": random.choice(["a; b", 'say "c"', "d"], 300),
            "built": [f"20{10 + n % 12}-03-{1 + n % 28:02d}" for n in range(300)],
            "year": 2000 + np.arange(300) % 15,
            "owner": random.integers(0, 60, 300),
            "worth": random.integers(1, 4, 300),
            "part": random.choice(["train", "train", "train", "val", "test"], 300),
            "price": random.exponential(5, 300).round(3),
        }
    )
    frame.loc[5, "size"] = np.nan
    frame = pd.concat([frame, frame.iloc[[7, 7, 30]]])
    frame.to_csv(tmp_path / "houses.csv", index=False, sep=";")
    return tmp_path / "houses.csv"


@pytest.mark.parametrize(
    "settings",
    [
        ["data.drop=[owner,part,built]", "data.missing=median"],
        ["data.drop=[owner,part]", "data.dates=[built]", "data.missing=drop", "data.split=random", "seed=3"],
        ["data.group=owner", "data.drop=[part,built]", "data.missing=drop"],
        ["data.split_column=part", "data.drop=[owner,built]", "data.missing=median", "data.importance=worth"],
        ["data.split=time", "data.time=year", "data.drop=[owner,part,built]", "data.missing=median"],
        ["data.split=time", "data.time=built", "data.drop=[owner,part]", "data.missing=median"],
    ],
    ids=["balanced", "random", "group", "column", "year", "date"],
)
def test_the_rows_of_train_and_val_are_those_of_the_user(settings: list[str], table: Path, tmp_path: Path) -> None:
    register_configs()
    given = ["+experiment=tabular", f"data.path={table}", "data.target=price", 'data.sep=";"', *settings]
    own = data_of(compose_config(given))
    search = Search(tmp_path / "search", given)
    for seed in (0, 4):
        found: TabularData = instantiate_with(search.config(RUNS["lds"], seed).data)
        search.set_up(found)
        assert found.seed == seed
        for split in ("train", "val"):
            assert torch.equal(found.labels(split), own.labels(split))  # type: ignore[arg-type]
            rows = range(len(own.labels(split)))  # type: ignore[arg-type]
            inputs = [data.dataset(split).__getitems__(rows)[0] for data in (found, own)]  # type: ignore[attr-defined, arg-type]
            assert torch.equal(*inputs)
        with pytest.raises(RuntimeError, match=r"^test: the rows are closed to a search"):
            found.labels("test")


def test_a_search_knows_its_rows_and_its_settings(table: Path, tmp_path: Path) -> None:
    register_configs()
    given = ["+experiment=tabular", f"data.path={table}", "data.target=price", 'data.sep=";"']
    given += ["data.split_column=part", "data.drop=[owner,built]", "data.missing=median"]
    first = Search(tmp_path / "search", given)
    with pytest.raises(ValueError, match=r"--folder: .*another search"):
        Search(tmp_path / "search", [*given, "seed=1"])
    # Another validation row is another search, another test row is not.
    frame = pd.read_csv(table, sep=";")
    for name, same in (("test", True), ("val", False)):
        changed = frame.copy()
        changed.loc[changed.index[changed["part"] == name][0], "price"] = 99.5
        changed.to_csv(table, index=False, sep=";")
        # pandas writes the numbers of the fixture again as they were.
        if same:
            assert Search(tmp_path / "search", given).split["val"] == first.split["val"]
        else:
            with pytest.raises(ValueError, match=r"--folder: .*another search"):
                Search(tmp_path / "search", given)
    assert [path.name for path in (tmp_path / "search").iterdir()] == ["search.json"]


def test_the_data_names_its_recipe(table: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "cells.npz", images=np.zeros((3, 4, 4), np.uint8), count=np.arange(3), split=np.arange(3))
    np.savez(tmp_path / "labels.npz", count=np.arange(3))
    pictures = f"data.path={tmp_path / 'cells.npz'}"
    for given, expected in (
        ([f"data.path={table}"], ["+experiment=tabular", f"data.path={table}"]),
        (["data.csv=a.csv"], ["+experiment=images", "data.csv=a.csv"]),
        (["data.path=a.tsv", "data.text=t"], ["+experiment=text", "data.path=a.tsv", "data.text=t"]),
        ([pictures, "data.target=count"], ["+experiment=images_npz", pictures, "data.label=count"]),
        (["+experiment=sts_synthetic"], ["+experiment=sts_synthetic"]),
    ):
        assert with_experiment(given) == expected
    with pytest.raises(ValueError, match=r"^data\.images: no images in .*labels\.npz \(found: 'count'\)"):
        with_experiment([f"data.path={tmp_path / 'labels.npz'}", "data.target=count"])
