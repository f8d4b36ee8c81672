"""docs/sklearn.md: its script runs, and its tables are those of the committed results."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.sklearn_scores import table

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "sklearn.md").read_text(encoding="utf-8")
RESULTS = ROOT / "benchmarks" / "results" / "sklearn_scores.json"


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL):
        exec(compile(block, "docs/sklearn.md", "exec"), found)
    return found


def test_weights_lower_the_error_of_rare_labels(names: dict[str, Any]) -> None:
    plain, weighted = (names[name]["test_few"].mean() for name in ("plain_scores", "weighted_scores"))
    assert weighted > plain
    assert names["search"].best_params_["weighting"] in ("none", "lds", "dense")
    assert np.isfinite(names["log_trees"].predict(names["X_test"])).all()


def test_the_slider_moves_and_its_intervals_are_ordered(names: dict[str, Any]) -> None:
    assert names["prices_of_rare"].mean() > names["slider"].predict(names["X_test"], power=0.0).mean()
    assert (names["low"] < names["high"]).all()
    assert (names["ninth_decile"] <= names["y"].max()).all()


def test_networks_and_resampled_trees_predict(names: dict[str, Any]) -> None:
    for model in (names["network"], names["prior"], names["resampled"]):
        assert model.score(names["X_test"], names["y_test"]) > 0.3
    assert names["interval"].shape == (len(names["X_test"]), 2)
    assert names["out_of_fold"].index.equals(names["X"].index)


@pytest.mark.parametrize("name", ["_scorer", "SampleWeighter", "TargetPower", "ImbalancedRegressor", "SMOGN"])
def test_each_errand_takes_as_many_lines_of_its_own_as_its_heading_says(name: str) -> None:
    sections = re.findall(r"## [^\n]*\((\d+) lines\)\n.*?```python\n(.*?)```", PAGE, flags=re.DOTALL)
    (lines,) = (lines for lines, block in sections if re.search(rf"import .*{name}", block))
    (block,) = (block for _, block in sections if re.search(rf"import .*{name}", block))
    assert sum(name in line for line in block.splitlines()) == int(lines)


def test_the_tables_are_those_of_the_committed_results() -> None:
    shown = table(json.loads(RESULTS.read_text(encoding="utf-8")))
    assert shown in PAGE
