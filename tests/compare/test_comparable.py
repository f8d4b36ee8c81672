"""Runs that saw other rows, or counted other shot groups, are named in every report."""

from __future__ import annotations

import math

from dir.compare.comparable import comparability_notes
from dir.compare.report import remarks
from dir.compare.runs import Run
from dir.compare.statistics import compare

METRICS = {"test": {"all": {"n": 3, "mae": 1.0}, "few": {"n": 1, "mae": 2.0}}}


def run(method: str, seed: int = 0, data: str | None = "aa", few: float | None = 20) -> Run:
    info: dict[str, object] = {}
    if data is not None:
        info["data"] = {"hash": data}
    if few is not None:
        info["shots"] = {"by": "count", "thresholds": {"many": 100, "few": few}}
    return Run(method, "table", method, "", seed, METRICS, {"run": info})


def test_runs_with_the_same_rows_and_groups_have_no_note() -> None:
    assert comparability_notes([run("vanilla"), run("lds"), run("vanilla", 1, "bb"), run("lds", 1, "bb")]) == []


def test_other_data_under_the_same_seed_is_named_with_both_sides() -> None:
    (note,) = comparability_notes([run("vanilla"), run("lds", data="bb"), run("fds"), run("lds", 1), run("fds", 1)])
    assert note.startswith("Not comparable: the runs of seed 0 saw different data")
    assert note.endswith("(vanilla, fds | lds).")


def test_other_thresholds_are_named() -> None:
    (note,) = comparability_notes([run("vanilla"), run("lds", few=10)])
    assert "different shot groups" in note


def test_runs_without_the_records_are_left_out() -> None:
    assert comparability_notes([run("vanilla"), run("lds", data=None, few=None), Run("x", "t", "x", "", 0, {})]) == []


def test_the_tables_and_the_json_show_the_note_first() -> None:
    comparison = compare([run("vanilla"), run("lds", data="bb")])
    assert "saw different data" in remarks(comparison)[0]
    assert math.isclose(comparison.rows[0].spread["mae", "few"].mean, 2.0)
