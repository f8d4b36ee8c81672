"""The tables of docs/errands.md are those of the committed results, in which every kind of data arrives."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.errands import KINDS, RESULTS, STEPS, page

PAGE = Path(__file__).resolve().parents[2] / "docs" / "errands.md"


def test_the_page_shows_the_results() -> None:
    assert f"<!-- python benchmarks/errands.py page -->\n\n{page()}\n\n<!-- end -->" in PAGE.read_text(
        encoding="utf-8"
    )


def test_every_kind_of_data_goes_from_a_file_to_a_prediction() -> None:
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    for name in KINDS:
        assert [one["exit"] for one in results[name][-len(STEPS) :]] == [0, 0, 0, 0]
        assert "written to predicted_" in results[name][-1]["output"]
