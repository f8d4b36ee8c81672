"""Two runs in one report: paired differences on the same test rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from dir.compare.html.cli import main
from dir.compare.html.pair import differences, mean_interval, shot_differences
from dir.compare.runs import find_runs

Write = Callable[[Path, str, int, float], Path]


def test_two_run_folders_are_compared_on_their_test_rows(write_houses: Write, tmp_path: Path) -> None:
    one, other = (write_houses(tmp_path, method, 0, error) for method, error in (("vanilla", 4.0), ("lds", 3.0)))
    main([str(one), str(other), "--out", str(tmp_path / "report.html")])
    text = (tmp_path / "report.html").read_text()
    assert text.count("<h2>") == 1
    assert "lds, seed 0 against vanilla, seed 0" in text
    label, shot, gap = differences(*(find_runs(path)[0][0] for path in (one, other)))
    with np.load(one / "predictions.npz") as first, np.load(other / "predictions.npz") as second:
        expected = np.abs(second["prediction"] - label) - np.abs(first["prediction"] - label)
    np.testing.assert_allclose(gap, expected)
    few = stats.ttest_1samp(expected[shot == "few"], 0).confidence_interval(0.95)
    shown = {name: words for name, _, words in shot_differences(shot, gap)}
    assert shown["few"] == f"{expected[shot == 'few'].mean():+.4g} [{few.low:+.4g}, {few.high:+.4g}]"
    assert "zero" not in shown
    assert shown["few"] in text


def test_runs_with_other_test_rows_are_refused(
    write_houses: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = (write_houses(tmp_path, method, seed, 3.0) for method, seed in (("vanilla", 0), ("lds", 1)))
    with pytest.raises(SystemExit):
        main([str(one), str(other), "--out", str(tmp_path / "report.html")])
    assert "have other test rows" in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()
    # Two seeds in one folder are not a pair, and no error.
    main([str(tmp_path / "houses"), "--out", str(tmp_path / "report.html")])
    assert "Paired differences along" not in (tmp_path / "report.html").read_text()


def test_two_runs_of_several_targets_are_refused(
    write_houses: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [write_houses(tmp_path, method, 0, 3.0) for method in ("vanilla", "lds")]
    for run in runs:
        with np.load(run / "predictions.npz") as saved:
            arrays = {name: np.stack([values, values], axis=1) for name, values in saved.items()}
        np.savez(run / "predictions.npz", **arrays)
    with pytest.raises(SystemExit):
        main([*map(str, runs), "--out", str(tmp_path / "report.html")])
    assert "one label, and the run has several targets" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "report.html").exists()


def test_one_row_has_no_interval() -> None:
    assert mean_interval(np.array([2.0]))[0] == 2.0
    assert np.isnan(mean_interval(np.array([2.0]))[1:]).all()
    assert np.isnan(mean_interval(np.array([]))).all()
