"""The table of a search holds the training and validation rows of dir-train, read in the same way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf

from dir.commands.search import RUNS, Search, table_config
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
    own = data_of(table_config(given))
    search = Search(tmp_path / "search", given)
    found = data_of(search.config(RUNS["lds"]))
    for split in ("train", "val"):
        assert torch.equal(found.labels(split), own.labels(split))  # type: ignore[arg-type]
        rows = range(len(own.labels(split)))  # type: ignore[arg-type]
        inputs = [data.dataset(split).__getitems__(rows)[0] for data in (found, own)]  # type: ignore[attr-defined, arg-type]
        assert torch.equal(*inputs)
    assert torch.equal(found.labels("test"), own.labels("val"))


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
            assert Search(tmp_path / "search", given).table.read_bytes() == first.table.read_bytes()
        else:
            with pytest.raises(ValueError, match=r"--folder: .*another search"):
                Search(tmp_path / "search", given)
    assert not (tmp_path / "search/new.csv").exists()
