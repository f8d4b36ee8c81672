from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat

from dir.data.prepare import agedb_age, imdb_wiki_age, prepare, prepare_csv
from dir.data.splits import balanced_split, cap_for_share, held_out, random_split

ROOT = Path(__file__).resolve().parents[2]


def touch(folder: Path, names: list[str]) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def agedb_folder(folder: Path, per_age: dict[int, int]) -> Path:
    names = [f"AgeDB/{i}_SomeOne_{age}_f.jpg" for age, count in per_age.items() for i in range(count)]
    return touch(folder, names)


@pytest.mark.parametrize(
    ("stem", "age"),
    [
        ("11706_OliviaHussey_31_f", 31),
        ("0_MariaCallas_35_f", 35),
        ("12_Two_Names_101_m", 101),
        ("notes", None),
        ("1_Name_x_m", None),
        ("50_0_0_20170117135638318", None),
        ("1_Name_31_x", None),
        ("1_R2D2_31_m", None),
    ],
)
def test_age_in_an_agedb_name(stem: str, age: int | None) -> None:
    assert agedb_age(stem) == age


@pytest.mark.parametrize(
    ("stem", "age"),
    [
        ("nm0000001_rm124825600_1899-5-10_1968", 69),  # before July: the birthday was that year
        ("10000217_1981-08-05_2009", 27),
        ("10000217_1981-07-01_2009", 27),
        ("10000217_1981-06-30_2009", 28),
        ("nm0000002_rm1_1924-0-0_1950", 26),
        ("nm0000002_rm1_1924_1950", None),
    ],
)
def test_age_in_an_imdb_or_wiki_name(stem: str, age: int | None) -> None:
    assert imdb_wiki_age(stem) == age


def test_the_rule_gives_the_published_counts_of_every_age(shared: Path) -> None:
    published = pd.read_csv(shared / "data/agedb-dir/agedb.csv")
    counts = published.groupby(["age", "split"]).size().unstack(fill_value=0)
    for row in counts.itertuples():
        expected = held_out(row.train + row.val + row.test, cap=30)
        assert (row.val, row.test) == (expected, expected), f"age {row.Index}"
    ours = balanced_split(published["age"].to_numpy(), 30, seed=0)
    assert [int((ours == name).sum()) for name in ("train", "val", "test")] == [12208, 2140, 2140]
    assert cap_for_share(published["age"].to_numpy(), 2140 / 16488) == 30


def test_held_out_share_stays_within_its_budget() -> None:
    rng = np.random.default_rng(0)
    groups = rng.geometric(0.1, size=3000)
    counts = np.unique(groups, return_counts=True)[1]
    cap = cap_for_share(groups, 0.1)
    assert np.minimum(cap, counts // 3).sum() <= 300 < np.minimum(cap + 1, counts // 3).sum()


def test_splits_depend_on_the_seed_alone() -> None:
    groups = np.repeat(np.arange(5), 30)
    for draw in (lambda seed: balanced_split(groups, 4, seed), lambda seed: random_split(150, 0.1, seed)):
        np.testing.assert_array_equal(draw(1), draw(1))
        assert (draw(1) != draw(2)).any()
    assert (random_split(150, 0.1, 0) == "val").sum() == (random_split(150, 0.1, 0) == "test").sum() == 15


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_refuses_shares_that_leave_nothing(share: float) -> None:
    with pytest.raises(ValueError, match=r"^data\.share: .*got"):
        random_split(10, share, 0)
    with pytest.raises(ValueError, match="share"):
        cap_for_share(np.arange(10), share)


def test_agedb_csv(tmp_path: Path) -> None:
    images = agedb_folder(tmp_path / "raw", {20: 120, 50: 10, 99: 2})
    touch(images, ["AgeDB/readme.txt", "AgeDB/strange.jpg", "AgeDB/1_Old_131_m.jpg"])
    out = tmp_path / "new" / "agedb.csv"
    prepared = prepare_csv("agedb", images, out, seed=3)
    assert prepared.left_out == {
        "name of another form": ["AgeDB/strange.jpg"],
        "age outside 0..130": ["AgeDB/1_Old_131_m.jpg"],
    }
    table = pd.read_csv(out)
    assert list(table.columns) == ["age", "path", "split"]
    counts = table.groupby(["age", "split"]).size().to_dict()
    assert counts == {
        (20, "train"): 60,
        (20, "val"): 30,
        (20, "test"): 30,
        (50, "train"): 4,
        (50, "val"): 3,
        (50, "test"): 3,
        (99, "train"): 2,
    }
    for row in table.itertuples():
        assert (images / row.path).is_file()
        assert f"_{row.age}_" in row.path


def test_an_existing_csv_is_kept(tmp_path: Path) -> None:
    images = agedb_folder(tmp_path / "raw", {20: 9})
    out = tmp_path / "agedb.csv"
    out.write_text("mine")
    with pytest.raises(FileExistsError, match="--force"):
        prepare_csv("agedb", images, out)
    assert out.read_text() == "mine"
    prepare_csv("agedb", images, out, force=True)
    assert out.read_text().startswith("age,path,split\n")


def test_imdb_wiki_csv_leaves_out_what_the_face_scores_rule_out(tmp_path: Path) -> None:
    names = [f"nm{i}_rm0_1970-1-1_2000.jpg" for i in range(5)]
    images = touch(tmp_path, [f"imdb_crop/00/{name}" for name in names])
    touch(images, ["wiki_crop/01/7_1990-12-31_2010.jpg"])
    paths = np.empty(5, dtype=object)
    paths[:] = [np.array([f"00/{name}"]) for name in names]
    fields = {
        "full_path": paths,
        "face_score": np.array([2.0, 0.5, -np.inf, 3.0, 1.0]),
        "second_face_score": np.array([np.nan, np.nan, np.nan, 1.5, np.nan]),
    }
    savemat(images / "imdb_crop" / "imdb.mat", {"imdb": fields})
    prepared = prepare("imdb_wiki", images, seed=0)
    assert {reason: len(names) for reason, names in prepared.left_out.items()} == {"face scores": 3}
    assert sorted(zip(prepared.table["path"], prepared.table["age"], strict=True)) == [
        ("imdb_crop/00/nm0_rm0_1970-1-1_2000.jpg", 30),
        ("imdb_crop/00/nm4_rm0_1970-1-1_2000.jpg", 30),
        ("wiki_crop/01/7_1990-12-31_2010.jpg", 19),
    ]


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    images, out = agedb_folder(tmp_path / "raw", {20: 9}), tmp_path / "agedb.csv"
    command = ["prepare_data.py", "agedb", "--images", str(images), "--out", str(out), "--seed", "1"]
    monkeypatch.setattr(sys, "argv", command)
    script = str(ROOT / "scripts/prepare_data.py")
    runpy.run_path(script, run_name="__main__")
    assert "{'train': 3, 'val': 3, 'test': 3}" in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"--force"):
        runpy.run_path(script, run_name="__main__")


def test_refuses_folders_without_pictures(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="--images"):
        prepare("agedb", tmp_path / "none", seed=0)
    with pytest.raises(ValueError, match=r"id_name_age_gender\.jpg"):
        prepare("agedb", touch(tmp_path, ["a.jpg"]), seed=0)


UTKFACE = ["50_0_0_20170117135638318.jpg", "116_1_3_20170117135638319.jpg.chip.jpg", "61_1_20170109142408075.jpg"]


def test_utkface_names_are_read_as_utkface_and_refused_as_agedb(tmp_path: Path) -> None:
    images = touch(tmp_path, [*UTKFACE, "132_0_0_20170117135638318.jpg", "11706_OliviaHussey_31_f.jpg"])
    prepared = prepare("utkface", images, seed=0)
    assert sorted(prepared.table["age"]) == [50, 61, 116]
    assert "age outside 0..130: 1 (132_0_0_20170117135638318.jpg)" in prepared.report()
    assert "name of another form: 1 (11706_OliviaHussey_31_f.jpg)" in prepared.report()
    (images / "11706_OliviaHussey_31_f.jpg").unlink()
    with pytest.raises(ValueError, match=r"^--images: .*prepare_data\.py utkface"):
        prepare("agedb", images, seed=0)
    with pytest.raises(ValueError, match=r"prepare_data\.py agedb"):
        prepare("utkface", agedb_folder(tmp_path / "raw", {20: 3}), seed=0)


def test_a_report_lists_twenty_names(tmp_path: Path) -> None:
    prepared = prepare("utkface", touch(tmp_path, [*UTKFACE, *(f"{n}.jpg" for n in range(25))]), seed=0)
    assert prepared.report().startswith("name of another form: 25 (0.jpg, 1.jpg,")
    assert prepared.report().endswith(", ...)")
    assert prepared.report().count(".jpg") == 20


def test_the_names_of_agedb_dir_are_all_accepted(shared: Path) -> None:
    published = pd.read_csv(shared / "data/agedb-dir/agedb.csv")
    ages = [agedb_age(Path(path).stem) for path in published["path"]]
    assert ages == published["age"].tolist()
