from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dir.data.leakage import agedb_identity, csv_groups, leakage, stsb_groups
from dir.data.splits import group_split

ROOT = Path(__file__).resolve().parents[2]


def test_leakage_counts_groups_and_rows() -> None:
    report = leakage({"train": [1, 1, 2], "val": [2, 5], "test": [1, 5, 5, 9]})
    assert [(one.split, one.other, one.groups, one.shared_groups, one.rows, one.shared_rows) for one in report] == [
        ("val", "train", 2, 1, 2, 1),
        ("test", "train", 3, 1, 4, 1),
        ("test", "val", 3, 1, 4, 2),
    ]


def test_every_test_identity_of_agedb_dir_is_in_train(shared: Path) -> None:
    groups, table = csv_groups(shared / "data" / "agedb-dir" / "agedb.csv", "identity")
    test = leakage(groups)[1]
    assert (test.groups, test.shared_groups, test.rows, test.shared_rows) == (544, 544, 2140, 2140)
    assert "identity" in table


def test_pairs_of_stsb_dir_are_in_train_and_test(shared: Path) -> None:
    folder = shared / "data" / "sts-b-dir"
    assert leakage(stsb_groups(folder))[1].shared_groups == 18  # in either order of the two sentences


def test_a_name_that_is_no_agedb_name_is_an_error() -> None:
    with pytest.raises(ValueError, match="id_name_age_gender"):
        agedb_identity("faces/31.jpg")


def test_group_split_keeps_groups_whole_and_shares_about_right() -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 200, 3000)
    names = group_split(groups, share=0.15, seed=3)
    for group in range(200):
        assert len(set(names[groups == group])) == 1
    for split in ("val", "test"):
        assert abs(np.mean(names == split) - 0.15) < 0.01
    assert np.array_equal(names, group_split(groups, share=0.15, seed=3))
    assert not np.array_equal(names, group_split(groups, share=0.15, seed=4))


def test_groups_that_cannot_be_split_are_refused() -> None:
    with pytest.raises(ValueError, match="leave none for"):
        group_split(np.array(["a", "a", "b"]), share=0.3, seed=0)
    with pytest.raises(ValueError, match="share"):
        group_split(np.arange(9), share=0.5, seed=0)


def test_the_script_reports_and_overwrites_nothing(tmp_path: Path) -> None:
    csv = tmp_path / "faces.csv"
    rows = ["age,path,split", "3,A/1_x_3_f.jpg,train", "4,A/2_x_4_f.jpg,val", "5,A/3_y_5_m.jpg,test"]
    csv.write_text("\n".join(rows) + "\n")
    out = tmp_path / "out.csv"

    def run() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "scripts" / "leakage.py"), str(csv), "--out", str(out)]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)

    first = run()
    assert "val: 1 of 1 groups are also in train" in first.stdout
    assert "test: 0 of 1 groups are also in train" in first.stdout
    assert out.read_text().splitlines()[1] == "3,A/1_x_3_f.jpg,train,x"
    again = run()
    assert again.returncode == 1
    assert "exists" in again.stderr
