"""The table of docs/reliability.md is that of the committed result, and the command finds broken promises."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.reliability.__main__ import ROWS, block
from benchmarks.reliability.flips import _flips
from benchmarks.reliability.killed_runs import same
from benchmarks.reliability.rows import HELD, Case, Row, measure

ROOT = Path(__file__).resolve().parents[2]
RESULT = "benchmarks/results/reliability.json"


def test_the_page_shows_the_committed_result() -> None:
    page = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")
    found = re.findall(r"<!-- python -m benchmarks\.reliability .*?<!-- end -->", page, re.DOTALL)
    assert found == [block(ROOT / RESULT, RESULT)]


def test_the_committed_result_has_every_row_in_full_and_every_promise_held() -> None:
    rows: dict[str, Any] = json.loads((ROOT / RESULT).read_text(encoding="utf-8"))["rows"]
    assert list(rows) == list(ROWS)
    for key, entry in rows.items():
        assert not entry["short"], key
        assert entry["held"] == entry["cases"] == sum(entry["outcomes"].values()), key
        assert set(entry["outcomes"]) <= set(HELD)
    assert rows["kills"]["cases"] >= 100
    assert all(rows[key]["cases"] >= 600 for key in rows if key.startswith("flips"))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="watches files through /proc")
def test_a_few_cases_of_every_row_hold(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.reliability", "--short", "--json", str(tmp_path / "short.json")],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((tmp_path / "short.json").read_text())["rows"]
    assert list(rows) == list(ROWS)
    assert all(entry["held"] == entry["cases"] > 0 for entry in rows.values())


def test_a_broken_promise_is_counted_and_shown(tmp_path: Path) -> None:
    cases = [Case("a", "same"), Case("b", "code ran", "x" * 900), Case("c", "refused")]
    entry = measure(Row("key", "promise", "test", lambda folder, short: cases), tmp_path / "row", False)
    assert (entry["cases"], entry["held"]) == (3, 2)
    assert entry["outcomes"] == {"code ran": 1, "refused": 1, "same": 1}
    assert [(case["case"], len(case["detail"])) for case in entry["broken"]] == [("b", 600)]


def test_a_reader_without_checks_is_caught_by_the_flips(tmp_path: Path) -> None:
    path = tmp_path / "numbers.bin"
    path.write_bytes(bytes(range(200)))
    outcomes = {case.outcome for case in _flips(path, lambda: list(path.read_bytes()), 20)}
    assert outcomes == {"changed silently"}
    assert path.read_bytes() == bytes(range(200))

    def unnamed() -> None:
        if path.read_bytes() != bytes(range(200)):
            raise ValueError("damaged")

    assert {case.outcome for case in _flips(path, unnamed, 5)} == {"error without the name of the file"}


def test_values_are_the_same_to_the_last_bit() -> None:
    import torch

    assert same({"a": [torch.tensor([float("nan")]), 1]}, {"a": [torch.tensor([float("nan")]), 1]})
    assert not same(torch.tensor([0.0]), torch.tensor([-0.0]))
    assert not same([1], [1.0])
    assert not same({"a": 1}, {"b": 1})
