"""The code of docs/adapters.md runs, gives the numbers of the code by hand, and has the lines that the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

PAGE = (Path(__file__).resolve().parents[2] / "docs/adapters.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"<!-- block: (.*?) -->\n```python\n(.*?)```", PAGE, flags=re.DOTALL))
ROWS = re.findall(r"^\| (.*?) \| (\d+) \| (\d+) \|$", PAGE, flags=re.MULTILINE)


def run(*names: str) -> dict[str, Any]:
    found: dict[str, Any] = {"__name__": "__page__"}
    for name in names:
        exec(compile(BLOCKS[name], f"docs/adapters.md, block {name!r}", "exec"), found)
    return found


def lines(block: str) -> int:
    """Return the number of lines that are neither blank, comments nor imports."""
    return sum(bool(re.match(r"\s*(?!import |from |#)\S", line)) for line in BLOCKS[block].splitlines())


def test_the_page_counts_the_lines_of_its_blocks() -> None:
    errands = [name.removesuffix(", now") for name in BLOCKS if name.endswith(", now")]
    counted = [(str(lines(f"{errand}, by hand")), str(lines(f"{errand}, now"))) for errand in errands]
    assert [row[1:] for row in ROWS] == counted
    assert PAGE.count("```python") == len(BLOCKS), "every block has a name"


@pytest.mark.filterwarnings("ignore:FDS. most")
def test_any_model() -> None:
    pytest.importorskip("torchvision", reason="needs the extra 'recipes'")
    now, by_hand = run("model, data", "model, now"), run("model, data", "model, by hand")
    assert torch.equal(now["prediction"], by_hand["prediction"])
    assert int(now["fds"].epoch) == 2
    assert not hasattr(now["model"].fc, "fds")
