"""A reader who knows PyTorch finds the answers to five questions within two clicks of the home page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
CITATION = (DOCS.parent / "CITATION.cff").read_text(encoding="utf-8")

# Question -> words of the home page beside the link, and what the linked page must say.
QUESTIONS = {
    "how to use LDS in my loop": (
        "your own training loop",
        r"```python[^`]*lds = LDS\([^`]*weight=lds\(|weight=lds\(",
    ),
    "which method for my table": ("choose a method for your data", r"The data is a table.*`method=hist_gbdt`"),
    "what few means": (
        "what `few` means",
        r"few-shot.*\n: +Groups of \*test\* samples by the number of \*training\*",
    ),
    "what metrics.json holds": ("what `metrics.json` holds", r"## metrics\.json\n\n`val` and `test` hold"),
}


def row(words: str) -> str:
    (found,) = (line for line in (DOCS / "index.md").read_text(encoding="utf-8").splitlines() if words in line)
    return found


@pytest.mark.parametrize("question", QUESTIONS)
def test_an_answer_is_one_click_away(question: str) -> None:
    words, answer = QUESTIONS[question]
    first = re.findall(r"\]\(([^)#]+\.md)", row(words))[0]
    assert re.search(answer, (DOCS / first).read_text(encoding="utf-8"), flags=re.IGNORECASE), first


def test_the_home_page_says_how_to_cite() -> None:
    home = (DOCS / "index.md").read_text(encoding="utf-8")
    cite = home[home.index("## Cite") :]
    for key in ("title", "version", "license"):
        (value,) = re.findall(rf'^{key}: "?([^"\n]+)"?$', CITATION, flags=re.MULTILINE)
        assert value in cite, key
