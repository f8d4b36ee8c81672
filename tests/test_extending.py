"""Tests that the examples of docs/extending.md work: apply every block to a copy of the tree, run every command."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "extending.md"
FENCE = re.compile(r"^(?P<before>[^\n]*)\n\n```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
NAMED = re.compile(r"`([\w./-]+\.\w+)`")

# Runs each line of stdin as a command, in a fork of a process that has imported the slow packages once.
RUNNER = """
import os, runpy, shlex, sys
import hydra, lightning, pytest, sklearn.ensemble, torchmetrics  # before the forks
for line in sys.stdin.read().splitlines():
    program, *arguments = shlex.split(line)
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            if program == "pytest":
                code = int(pytest.main(arguments))
            else:
                sys.argv = arguments
                runpy.run_path(arguments[0], run_name="__main__")
                code = 0
        except SystemExit as ended:
            code = 0 if ended.code is None else ended.code if isinstance(ended.code, int) else 1
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    print(f"== {code} {line}", flush=True)
"""


class Block(NamedTuple):
    """Fenced block of the page: its kind, its text, and the file that the line before names (or None)."""

    kind: str
    text: str
    path: str | None


def read_blocks() -> list[Block]:
    blocks = []
    for match in FENCE.finditer(PAGE.read_text(encoding="utf-8")):
        named = NAMED.search(match["before"])
        blocks.append(Block(match["kind"], match["text"], named[1] if named else None))
    return blocks


def apply_diff(text: str, diff: str, path: str) -> str:
    """Return the text with the hunks of a diff applied; the unchanged lines of a hunk must occur exactly once."""
    for hunk in diff.split("@@\n"):
        lines = hunk.splitlines(keepends=True)
        old = "".join(line[1:] for line in lines if line[0] in " -")
        new = "".join(line[1:] for line in lines if line[0] in " +")
        assert text.count(old) == 1, f"{path} does not contain once:\n{old}"
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the tree with every example of the page in it."""
    copy = tmp_path_factory.mktemp("extended")
    for name in ("dir", "configs", "scripts", "tests", "docs"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.png", "golden"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    for kind, text, path in read_blocks():
        if kind in ("bash", "console"):
            continue
        assert path, f"the line before this block names no file:\n{text}"
        file = copy / path
        if kind == "diff":
            file.write_text(apply_diff(file.read_text(encoding="utf-8"), text, path), encoding="utf-8")
        else:
            assert not file.exists(), f"{path} exists already"
            file.write_text(text, encoding="utf-8")
    return copy


def test_every_command_of_the_page_succeeds(tree: Path) -> None:
    commands = [line for block in read_blocks() if block.kind == "bash" for line in block.text.splitlines()]
    assert len(commands) >= 12
    environment = os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "DIR_SHARED": str(tree / "none")}
    done = subprocess.run(
        [sys.executable, "-c", RUNNER],
        input="\n".join(commands),
        capture_output=True,
        text=True,
        cwd=tree,
        env=environment,
        check=False,
    )
    codes = dict(line[3:].split(" ", 1)[::-1] for line in done.stdout.splitlines() if line.startswith("== "))
    assert codes == dict.fromkeys(commands, "0"), done.stdout[-6000:] + done.stderr[-6000:]


def test_the_examples_pass_the_linter(tree: Path) -> None:
    files = sorted({block.path for block in read_blocks() if block.path and block.path.endswith(".py")})
    for arguments in (["check", "-q", *files], ["format", "-q", "--check", *files]):
        done = subprocess.run(["ruff", *arguments], cwd=tree, capture_output=True, text=True, check=False)
        assert done.returncode == 0, shlex.join(arguments) + done.stdout + done.stderr


def test_every_kind_of_extension_has_a_section_with_an_example() -> None:
    page = PAGE.read_text(encoding="utf-8")
    sections = re.split(r"^## ", page, flags=re.MULTILINE)[1:]
    titles = [section.splitlines()[0] for section in sections]
    assert titles == ["A loss", "A regulariser", "A metric", "A data set", "A resampler", "A method"]
    assert [title for title, section in zip(titles, sections, strict=True) if "```bash" not in section] == []
