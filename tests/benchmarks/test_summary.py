"""Tests of the committed measurements: docs/benchmarks.md shows the output of its commands, and the gates hold."""

from __future__ import annotations

import json
import re
import shlex
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from benchmarks import summary
from benchmarks.gates import ROWS, judged

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "benchmarks.md"
BLOCK = re.compile(r"<!-- python -m (benchmarks\.\w+) (.+?) -->\n.*?<!-- end -->", re.DOTALL)
BLOCKS = list(BLOCK.finditer(PAGE.read_text(encoding="utf-8")))
FILES = sorted({Path(word) for block in BLOCKS for word in block[2].split() if word.endswith(".json")})


# Gates that are not reached; docs/benchmarks.md says why. One that comes to be reached has to leave this set.
MISSED = {("shots-1000000", "arrays / ours")}


def test_the_page_has_both_tables() -> None:
    assert [block[1] for block in BLOCKS] == ["benchmarks.summary", "benchmarks.growth"]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block[1])
def test_the_page_shows_what_the_command_prints(
    block: re.Match[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("benchmarks.growth.draw", lambda found, path: None)  # the picture needs no test of its bytes
    import_module(block[1]).main(shlex.split(block[2]))
    assert block[0] + "\n" == capsys.readouterr().out


def test_every_row_of_the_cpu_was_measured_and_all_but_the_known_ones_reach_their_gates() -> None:
    found = summary.read([ROOT / path for path in FILES if not path.name.startswith("growth")])
    for key, row in ROWS.items():
        if row.gpu:
            continue
        assert key in found, f"{key} was not measured"
        missed = [entry for entry in judged(row, found[key].values) if entry["met"] is False]
        assert {(key, entry["ratio"]) for entry in missed} == {gate for gate in MISSED if gate[0] == key}, key


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_committed_file_names_the_device_and_no_computer(path: Path) -> None:
    content = json.loads((ROOT / path).read_text(encoding="utf-8"))
    rows = [entry["extra_info"] for entry in content["benchmarks"]] if "benchmarks" in content else [content]
    for row in rows:
        slug = re.sub(r"\W+", "_", row["device"]).strip("_").lower()
        assert slug in path.name
        assert row["threads"] == 1
    assert not {"node", "hostname", "user"} & set(content.get("machine_info", {}))


def written(path: Path, *rows: dict[str, Any]) -> Path:
    common = {"title": "", "unit": "s", "note": "", "device": "X", "torch": "2", "threads": 1, "commit": "abc"}
    entries = [{"name": row["key"], "extra_info": {**common, **row}} for row in rows]
    path.write_text(json.dumps({"benchmarks": entries}), encoding="utf-8")
    return path


def line_of(text: str, start: str) -> list[str]:
    (line,) = (line for line in text.splitlines() if line.startswith(f"| {start}"))
    return line.strip("| ").split(" | ")


def test_a_table_says_what_was_met_what_was_missed_and_what_was_not_measured(tmp_path: Path) -> None:
    first = written(
        tmp_path / "a.json",
        {"key": "calibrate-256x2048", "values": {"ours": 0.002, "naive": 0.1, "floor": 0.0004}},
        {"key": "shots-1000000", "values": {"ours": 1.0, "naive": 1.0}},
        {"key": "regularizer-X", "title": "X", "values": {"ours": 0.3, "floor": 0.1}, "note": "+5 MiB"},
    )
    second = written(
        tmp_path / "b.json", {"key": "shots-1000000", "values": {"ours": 0.01, "naive": 0.5, "arrays": 0.3}}
    )
    text = summary.markdown(summary.read([first, second]))
    ratios = "naive / ours = 50 (>= 30); ours / floor = 5 (<= 4)"
    assert line_of(text, "FDS calibrate, forward")[1:] == ["2 ms", "100 ms", "400 us", ratios, "met; **missed**"]
    later = ["naive / ours = 50 (>= 40); arrays / ours = 30 (>= 40)", "met; **missed**"]
    assert line_of(text, "MSE, MAE and GM")[4:] == later, "the later file counts"
    assert line_of(text, "X; +5 MiB")[1:5] == ["300 ms", "", "100 ms", "ours / floor = 3"]
    assert line_of(text, "GPU: FDS calibrate forward")[1] == "not measured"
    assert line_of(text, "LDS weights of 191,509")[-1] == "not measured"


def test_a_file_of_other_benchmarks_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(json.dumps({"benchmarks": [{"name": "bench_y", "extra_info": {}}]}), encoding="utf-8")
    with pytest.raises(ValueError, match="bench_y has no key"):
        summary.read([path])


def test_quantities_carry_their_unit() -> None:
    shown = [summary.quantity(value, unit) for value, unit in ((2.5, "s"), (0.0025, "s"), (2.5e-6, "s"))]
    assert shown == ["2.5 s", "2.5 ms", "2.5 us"]
    assert [summary.quantity(3112.4, "MiB"), summary.quantity(7.0, "calls")] == ["3,112 MiB", "7"]
    assert summary.quantity(float("nan"), "MiB") == "not measured"
