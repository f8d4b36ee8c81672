"""The code of docs/figures.md runs, and its table names every figure."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import dir.figures

PAGE = (Path(__file__).resolve().parents[2] / "docs/figures.md").read_text(encoding="utf-8")


def test_the_code_draws_three_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(block, "docs/figures.md", "exec"), {})
    assert {path.name for path in tmp_path.iterdir()} == {"density.png", "similarity.png", "fds.png"}


def test_the_table_names_every_figure() -> None:
    named = set(re.findall(r"^\|[^|]*\| `(\w+_figure)`", PAGE, re.MULTILINE))
    assert named == {name for name in dir.figures.__all__ if name.endswith("_figure")}
