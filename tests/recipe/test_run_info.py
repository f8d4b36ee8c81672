"""The commit that a run names."""

import subprocess

import pytest

from dir.recipe.run_info import commit


def git(root, *words):
    who = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    return subprocess.check_output(["git", "-C", root, *who, *words], text=True).strip()


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "results").mkdir()
    for name in ("code.py", "results/a.jsonl"):
        (tmp_path / name).write_text("1")
    git(tmp_path, "init", "-q")
    assert commit(tmp_path) is None  # no commit yet
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    return tmp_path


def test_a_changed_file_makes_the_commit_dirty_unless_it_is_ignored(checkout):
    head = git(checkout, "rev-parse", "HEAD")
    assert commit(checkout) == commit(checkout, ["results"]) == head
    (checkout / "results/a.jsonl").write_text("2")
    (checkout / "results/new.jsonl").write_text("2")
    assert (commit(checkout), commit(checkout, ["results"])) == (f"{head}-dirty", head)
    (checkout / "code.py").write_text("2")
    assert commit(checkout, ["results"]) == f"{head}-dirty"


def test_a_folder_that_is_no_checkout_has_no_commit(tmp_path):
    assert commit(tmp_path) is None
