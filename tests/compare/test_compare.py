"""dir.compare.statistics, report and published, on small generated run folders; test_runs.py tests the files."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from dir.compare.published import BENCHMARKS, ENCODERS, PAPERS, PUBLISHED, published
from dir.compare.report import difference_cell, markdown, readme_tables, spread_cell
from dir.compare.runs import find_runs, read_results
from dir.compare.statistics import Difference, Spread, compare, paired_difference, spread

ROOT = Path(__file__).resolve().parents[2]
Content = Callable[..., dict[str, Any]]
WriteRun = Callable[..., Path]


def script(*args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "compare.py"), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def test_spread_is_mean_and_sample_deviation_of_the_finite_values() -> None:
    values = [0.60, 0.62, math.nan, 0.58]
    got = spread(values)
    assert (got.mean, got.sd, got.n) == pytest.approx((0.60, np.std([0.60, 0.62, 0.58], ddof=1), 3))
    assert math.isnan(spread([0.6]).sd)
    assert spread([math.nan]).n == 0


def test_paired_difference_is_scipys_paired_t_interval_over_common_seeds() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=8), rng.normal(size=8)
    values = {seed: float(a[seed]) for seed in range(7)}  # seed 7 is missing here,
    base = {seed: float(b[seed]) for seed in range(1, 8)}  # seed 0 there
    got = paired_difference(values, base)
    oracle = stats.ttest_rel(a[1:7], b[1:7]).confidence_interval(0.95)
    assert got.n == 6
    assert (got.mean, got.low, got.high) == pytest.approx((np.mean(a[1:7] - b[1:7]), oracle.low, oracle.high))


def test_a_seed_without_a_finite_value_on_both_sides_is_not_a_pair() -> None:
    got = paired_difference({0: 1.0, 1: math.nan, 2: 3.0}, {0: 0.5, 1: 0.5, 2: math.nan})
    assert (got.mean, got.n) == (0.5, 1)
    assert math.isnan(got.low)
    assert math.isnan(got.high)
    assert paired_difference({0: 1.0}, {1: 1.0}).n == 0


def test_compare_gives_the_numbers_computed_by_hand(outputs: Path) -> None:
    runs, unfinished = find_runs(outputs)
    result = compare(runs, unfinished=unfinished)
    assert [row.label for row in result.rows] == ["vanilla", "lds", "fds"]
    assert result.experiment == "stsb_minilm"
    assert result.metrics == ("mse", "pearson")
    assert result.groups == ("all", "few", "zero")
    assert result.sizes["few"] == (80, 80)
    vanilla, lds, _ = result.rows
    assert vanilla.spread["mse", "all"].mean == pytest.approx(0.61)
    assert vanilla.spread["mse", "all"].sd == pytest.approx(0.01)
    assert vanilla.difference == {}
    # Differences -0.02, 0.01, -0.04; t(2) at 97.5 % is 4.302653.
    d = lds.difference["mse", "all"]
    half = 4.302653 * math.sqrt((0.0033333**2 + 0.0266667**2 + 0.0233333**2) / 2) / math.sqrt(3)
    assert (d.mean, d.low, d.high) == pytest.approx((-0.0166667, -0.0166667 - half, -0.0166667 + half), abs=1e-6)
    assert d.n == 3
    assert lds.spread["mse", "zero"].n == 0


def test_rows_come_in_the_order_of_methods_with_unknown_ones_last(
    tmp_path: Path, content: Content, write_run: WriteRun
) -> None:
    for method in ("zebra", "lds_fds", "sqinv", "huber", "vanilla", "apple", "inv", "lds_fds_shrink"):
        write_run(tmp_path / "x", method, 0, content(0.6))
    labels = [row.label for row in compare(find_runs(tmp_path)[0]).rows]
    assert labels == ["vanilla", "inv", "sqinv", "lds_fds", "lds_fds_shrink", "huber", "apple", "zebra"]


def test_overrides_make_a_separate_row_compared_with_the_baseline_of_the_same_overrides(
    tmp_path: Path, content: Content, write_run: WriteRun
) -> None:
    write_run(tmp_path / "x", "vanilla", 0, content(0.6))
    write_run(tmp_path / "x", "vanilla", "0,trainer.max_epochs=3", content(0.8))
    write_run(tmp_path / "x", "lds", "0,trainer.max_epochs=3", content(0.7))
    write_run(tmp_path / "x", "lds", "0,lds.sigma=1", content(0.7))
    rows = {row.label: row for row in compare(find_runs(tmp_path)[0]).rows}
    assert len(rows) == 4
    assert rows["lds trainer.max_epochs=3"].difference["mse", "all"].mean == pytest.approx(-0.1)
    assert rows["lds lds.sigma=1"].difference["mse", "all"].mean == pytest.approx(0.1)


def test_another_baseline_can_be_named_and_a_missing_one_is_reported(outputs: Path) -> None:
    runs, _ = find_runs(outputs)
    result = compare(runs, baseline="lds")
    assert result.rows[0].difference["mse", "all"].mean == pytest.approx(0.0166667, abs=1e-6)
    with pytest.raises(ValueError, match=r"--baseline: .*'vanilla', 'lds', 'fds', got 'ldss'\. Did you mean lds"):
        compare(runs, baseline="ldss")
    without = [run for run in runs if run.method != "vanilla"]
    assert "no paired differences" in markdown(compare(without))


def test_metrics_and_split_are_checked(outputs: Path) -> None:
    runs, _ = find_runs(outputs)
    assert compare(runs, metrics=["pearson"]).metrics == ("pearson",)
    with pytest.raises(ValueError, match=r"--metrics: .*'mse', 'pearson', got 'maee'"):
        compare(runs, metrics=["maee"])
    with pytest.raises(ValueError, match=r"metrics.json: .*'train' \(found: val, test\)"):
        compare(runs, split="train")


def test_cells() -> None:
    nan = math.nan
    assert spread_cell(Spread(0.6123, 0.0041, 10), 3, 10) == "0.612 ± 0.004"
    assert spread_cell(Spread(0.6123, nan, 1), 3, 1) == "0.612"
    assert spread_cell(Spread(0.6123, 0.0041, 8), 3, 10) == "0.612 ± 0.004 (8)"
    assert spread_cell(Spread(nan, nan, 0), 3, 10) == "-"
    assert difference_cell(Difference(-0.0166, -0.03, 0.01, 3), 3, 3) == "-0.017 [-0.030, +0.010]"
    assert difference_cell(Difference(0.5, nan, nan, 1), 2, 3) == "+0.50 (1)"
    assert difference_cell(Difference(nan, nan, nan, 0), 2, 3) == "-"


def test_readme_tables(outputs: Path) -> None:
    text = readme_tables(compare(find_runs(outputs)[0]), "mse")
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert lines[0] == "| method | seeds | all | few | zero | pearson |"
    assert lines[2] == "| vanilla | 3 | 0.610 ± 0.010 | 0.700 ± 0.000 | - | 0.840 ± 0.000 |"
    assert lines[5] == "| method | pairs | all | few | zero | pearson |"
    assert lines[7].startswith("| lds | 3 | -0.017 [-0.079, +0.046] |")
    assert "**" not in text
    with pytest.raises(ValueError, match=r"--readme: .*'mse', 'pearson', got 'mae'"):
        readme_tables(compare(find_runs(outputs)[0]), "mae")


def test_published_numbers_have_their_own_marked_tables(
    outputs: Path, tmp_path: Path, content: Content, write_run: WriteRun
) -> None:
    text = markdown(compare(find_runs(outputs)[0]))
    assert "| LDS+FDS | 0.907 | 0.802 | 1.363 | 0.942 | DIR |" in text
    assert "PUBLISHED, not run here; published encoder: BiLSTM on GloVe" in text
    assert "685 of its test rows" in text
    write_run(tmp_path / "age_synthetic", "vanilla", 0, content(0.6))
    assert "PUBLISHED" not in markdown(compare(find_runs(tmp_path / "age_synthetic")[0]))


def test_published_data_is_complete_and_consistent() -> None:
    assert {row.paper for row in PUBLISHED} == set(PAPERS)
    assert {row.benchmark for row in PUBLISHED} == set(BENCHMARKS.values()) == set(ENCODERS)
    for row in PUBLISHED:
        for values in row.values.values():
            assert "all" in values
            # `all` is a weighted mean of its groups, so it lies between them.
            parts = [value for group, value in values.items() if group != "all"]
            assert len(parts) < 3 or min(parts) < values["all"] < max(parts), row
    best = min(published("agedb", "mae"), key=lambda row: row.values["mae"]["all"])
    assert (best.method, best.values["mae"]) == ("BSAM", {"all": 6.07, "few": 7.93})


def test_every_published_number_is_one_of_the_landscape(shared: Path) -> None:
    landscape = (shared / "LANDSCAPE.md").read_text()
    for row in PUBLISHED:
        for values in row.values.values():
            for value in values.values():
                forms = {f"{value:.2f}", f"{value:.3f}", f"{value:.3f}".removeprefix("0")}
                assert any(form in landscape for form in forms), (row.method, value)


def test_script_prints_and_writes_the_report(outputs: Path, tmp_path: Path, mse: dict[str, list[float]]) -> None:
    done = script(outputs, "--out", tmp_path / "report", "--collect", tmp_path / "stsb_minilm.jsonl")
    assert done.returncode == 0, done.stderr
    assert "0.610 ± 0.010" in done.stdout
    report = json.loads((tmp_path / "report" / "compare.json").read_text())
    assert report["rows"][1]["metrics"]["mse"]["all"]["mean"] == pytest.approx(np.mean(mse["lds"]))
    assert report["rows"][1]["metrics"]["mse"]["zero"] == {"mean": None, "sd": None, "n": 0}
    assert report["published"][0]["values"]["all"] == 0.974
    assert "| vanilla | 3 | 0.610 ± 0.010 |" in (tmp_path / "report" / "compare.md").read_text()
    assert len(read_results(tmp_path / "stsb_minilm.jsonl")) == 9


def test_script_refuses_in_one_line_and_writes_nothing(outputs: Path, tmp_path: Path) -> None:
    (outputs / "lds" / "seed_2" / "metrics.json").write_text('{"test": ')
    done = script(outputs, "--out", tmp_path / "report")
    assert done.returncode == 2
    assert "seed_2/metrics.json: expected json" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "report").exists()
