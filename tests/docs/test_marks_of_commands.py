"""Each block of commands in docs/ says when it was run, which test runs it, or why it was not run."""

from __future__ import annotations

import datetime
import re
from pathlib import Path

import pytest

from tests.docs.test_hooks import hook

ROOT = Path(__file__).resolve().parents[2]
# benchmarks.results_pages writes the pages of docs/results beside the committed results of their commands.
PAGES = [path for path in sorted((ROOT / "docs").rglob("*.md")) if path.parent.name != "results"]
FIRST = datetime.date(2026, 11, 23)  # the first commit


def unmarked(text: str) -> list[str]:
    """Return the first line of each block of commands without a mark."""
    if re.search(r"^<!-- all run by: ", text, flags=re.MULTILINE):
        return []
    marks = {found.start("block") for found in hook("runs").MARK.finditer(text)}
    blocks = re.finditer(r"^```(?:bash|sh|shell|console)\n(.*)", text, flags=re.MULTILINE)
    return [found[1] for found in blocks if found.start() not in marks]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_each_block_of_commands_is_marked(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if path.parent.name == "tutorials":  # benchmarks.pages runs the blocks without a mark
        assert f"python -m benchmarks.pages docs/tutorials/{path.name}" in text
    else:
        assert unmarked(text) == [], "blocks without a comment such as <!-- run: DATE -->, see docs/hooks/runs.py"
    for found in hook("runs").MARK.finditer(text):
        kind, value = found["kind"], found["value"]
        if kind in ("run", "output"):
            assert FIRST <= datetime.date.fromisoformat(value) <= datetime.date.today()
        elif kind == "run by":
            assert (ROOT / value.partition(",")[0]).is_file(), value
        else:
            assert len(value) > 10, "a reason, in words"
            assert not value.endswith("."), "the site adds the full stop"
    for found in hook("runs").ALL.finditer(text):
        assert path.name in (ROOT / found["value"]).read_text(encoding="utf-8")


def test_a_block_without_a_mark_is_found() -> None:
    mark = "<!-- run: 2026-11-26 -->\n"
    text = f"{mark}```bash\nls\n```\n\n```bash\ncat x\n```\n\n{mark}\n```sh\ncd\n```\n"
    assert unmarked(text) == ["cat x", "cd"]
    assert unmarked("<!-- all run by: x -->\n" + text) == []


def test_readers_see_the_mark_below_the_block() -> None:
    shown = hook("runs").on_page_markdown
    block = "```bash\nls\n```\n"
    assert shown(f"<!-- run: 2026-11-26 -->\n{block}\n```\na\n```\n") == (
        f"{block}\nRun on 2026-11-26.\n{{: .run }}\n\n```\na\n```\n"
    )
    assert "\nOutput of 2026-11-25.\n" in shown(f"<!-- output: 2026-11-25 -->\n{block}")
    assert "\nNot run in this form: FILE stands for yours.\n" in shown(
        f"<!-- not run: FILE stands for yours -->\n{block}"
    )
    assert "\nRun by `.ci/run`, shortened.\n" in shown(f"<!-- run by: .ci/run, shortened -->\n{block}")
    assert shown("<!-- all run by: tests/a.py -->\n\nb\n") == (
        "All commands of this page are run by `tests/a.py`.\n{: .run }\n\nb\n"
    )
    assert shown(block) == block
