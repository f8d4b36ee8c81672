"""Splits that keep groups whole, as an option of every data set with a column for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dir.data.base import SPLITS, RegressionData
from dir.data.csv_images import CsvImages
from dir.data.leakage import csv_groups, leakage
from dir.data.npz_images import NpzImages
from dir.data.splits import group_split
from dir.data.tabular import TabularData

# Forty rows of ten people, in an order that mixes them; a label tells its row.
PEOPLE = np.array([f"p{row % 10}" for row in range(40)])
LABELS = np.arange(40.0)
PUBLISHED = np.resize(["train", "val", "test", "train"], 40)


def images_from_csv(folder: Path, **kwargs: object) -> RegressionData:
    for row in range(40):
        Image.new("RGB", (4, 4), (row, 0, 0)).save(folder / f"{row}.png")
    table = {"path": [f"{row}.png" for row in range(40)], "age": LABELS, "person": PEOPLE, "split": PUBLISHED}
    pd.DataFrame(table).to_csv(folder / "list.csv", index=False)
    return CsvImages(str(folder / "list.csv"), str(folder), image_size=4, padding=0, **kwargs)  # type: ignore[arg-type]


def images_from_npz(folder: Path, **kwargs: object) -> RegressionData:
    pixels = np.zeros((40, 4, 4), dtype=np.uint8)
    np.savez(folder / "x.npz", images=pixels, age=LABELS, person=PEOPLE, split=PUBLISHED)
    return NpzImages(str(folder / "x.npz"), label="age", **kwargs)  # type: ignore[arg-type]


def table(folder: Path, **kwargs: object) -> RegressionData:
    pd.DataFrame({"a": LABELS % 7, "person": PEOPLE, "age": LABELS}).to_csv(folder / "x.csv", index=False)
    return TabularData(str(folder / "x.csv"), "age", **kwargs)  # type: ignore[arg-type]


MAKERS = [images_from_csv, images_from_npz, table]


def people(data: RegressionData) -> dict[str, set[str]]:
    data.setup()
    return {split: set(PEOPLE[data.labels(split).long().numpy()]) for split in SPLITS}


@pytest.mark.parametrize("make", MAKERS)
def test_no_group_is_in_two_splits_and_no_row_is_lost(make, tmp_path: Path) -> None:
    data = make(tmp_path, group="person", share=0.2, seed=3)
    found = people(data)
    assert sum(map(len, found.values())) == len(set().union(*found.values())) == 10
    assert sorted(label for split in SPLITS for label in data.labels(split).tolist()) == LABELS.tolist()
    assert [len(data.labels(split)) for split in SPLITS] == [24, 8, 8]


@pytest.mark.parametrize("make", MAKERS)
def test_the_seed_draws_the_groups(make, tmp_path: Path) -> None:
    one, again, other = (people(make(tmp_path, group="person", share=0.2, seed=seed)) for seed in (0, 0, 1))
    assert one == again != other


@pytest.mark.parametrize("make", [images_from_csv, images_from_npz])
def test_without_groups_the_published_splits_stand(make, tmp_path: Path) -> None:
    data = make(tmp_path)
    data.setup()
    assert data.labels("val").tolist() == LABELS[PUBLISHED == "val"].tolist()


@pytest.mark.parametrize("make", MAKERS)
def test_a_column_that_is_not_there_is_named(make, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data\.group") as caught:
        make(tmp_path, group="persona").setup()
    assert "persona" in str(caught.value)


def test_the_group_is_no_feature_and_missing_ones_are_refused(tmp_path: Path) -> None:
    data = table(tmp_path, group="person")
    assert data.encoder_args() == {"in_features": 1}
    (tmp_path / "y.csv").write_text("a,person,age\n1,x,2\n2,,3\n3,y,4\n4,z,5\n")
    with pytest.raises(ValueError, match=r"column 'person': missing values in rows 2\."):
        TabularData(str(tmp_path / "y.csv"), "age", group="person").setup()
    # A row above it goes for another reason; the number stays the file's.
    (tmp_path / "z.csv").write_text("a,person,age\n,x,2\n2,y,3\n3,,4\n4,z,5\n")
    with pytest.raises(ValueError, match=r"column 'person': missing values in rows 3\.$"):
        TabularData(str(tmp_path / "z.csv"), "age", missing="drop", group="person").setup()
    (tmp_path / "w.csv").write_text("person,age\nx,2\ny,3\nz,4\n")
    with pytest.raises(ValueError, match=r"no column is left besides the target 'age' and 'person'"):
        TabularData(str(tmp_path / "w.csv"), "age", group="person").setup()
    for wrong in ({"group": "age"}, {"group": "person", "test_path": "other.csv"}):
        with pytest.raises(ValueError, match=r"^data\.group: .*got '(person|age)'"):
            TabularData(str(tmp_path / "x.csv"), "age", **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (
            np.arange(80).reshape(40, 2),
            r"array 'person': .*shape \[N\], got \[40, 2\]",
        ),
        (
            np.where(np.arange(40) % 20 == 3, np.nan, 1.0),
            r"array 'person': 2 missing values .* rows 3, 23\.$",
        ),
    ],
)
def test_identities_in_an_npz_file_are_one_per_image_and_none_is_missing(
    tmp_path: Path, groups: np.ndarray, message: str
) -> None:
    np.savez(tmp_path / "x.npz", images=np.zeros((40, 4, 4), dtype=np.uint8), age=LABELS, person=groups)
    with pytest.raises(ValueError, match=message):
        NpzImages(str(tmp_path / "x.npz"), label="age", group="person").setup()


def test_every_identity_of_agedb_is_leaked_as_published_and_none_when_drawn_by_group(shared: Path) -> None:
    path = shared / "data" / "agedb-dir" / "agedb.csv"
    published, rows = csv_groups(path, "identity")
    found = {(one.split, one.other): one for one in leakage(published)}["test", "train"]
    assert found.shared_groups == found.groups > 500, "LANDSCAPE.md, defect 16"
    assert found.rows == found.shared_rows == 2140
    identities = rows["identity"].to_numpy(dtype="U")
    names = group_split(identities, share=0.13, seed=0)
    drawn = {split: identities[names == split].tolist() for split in SPLITS}
    assert all(one.shared_groups == 0 for one in leakage(drawn))
    assert abs(len(drawn["test"]) / len(rows) - 0.13) < 0.005
