"""The overview over several data sets, checked against numbers computed by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dir.compare.cli import main
from dir.compare.overview import overview_grid
from dir.compare.runs import METHOD_ORDER, find_runs
from dir.compare.statistics import Comparison, compare


def comparison(root: Path, name: str, errors: dict[str, list[tuple[float, float | None]]]) -> Comparison:
    """Compare runs with the errors ``errors[method]``: (all, few) of each seed."""
    for method, pairs in errors.items():
        for seed, (total, few) in enumerate(pairs):
            path = root / name / method.format(seed) / "metrics.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            groups = {"all": {"n": 5, "mae": total, "pearson": 0.1}, "few": {"n": 1, "mae": few, "pearson": None}}
            path.write_text(json.dumps({"test": groups}))
    return compare(find_runs(root / name)[0])


@pytest.fixture
def two(tmp_path: Path) -> list[Comparison]:
    base = [(2.0, 10.0), (4.0, 10.0)]
    first = {
        "vanilla/seed_{}": base,
        "lds/seed_{}": [(1.9, 8.0), (4.3, 8.0)],
        "lds/seed_{},lds.sigma=9": [(9.0, 9.0)],
    }
    second = {"vanilla/seed_{}": base, "huber/seed_{}": [(2.2, None), (4.4, None)]}
    return [comparison(tmp_path, "one", first), comparison(tmp_path, "two", second)]


def test_cells_are_paired_changes_in_percent_of_the_baseline(two: list[Comparison]) -> None:
    grid = overview_grid(two, "mae")
    assert grid.header == ("method", "one all", "one few", "two all", "two few")
    # lds changes `all` by (-0.1 + 0.3) / 2 of a mean of 3, an interval with 0, and `few` by -2 of 10 in both seeds.
    assert grid.rows == (
        ("vanilla", "(3)", "(10)", "(3)", "(10)"),
        ("lds", "+3.3", "**-20.0**", "-", "-"),
        ("huber", "-", "-", "+10.0", "-"),
    )


def test_metrics_without_a_change_in_percent_are_refused(two: list[Comparison], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--overview.*got 'pearson'"):
        overview_grid(two, "pearson")
    with pytest.raises(ValueError, match="--overview: one has no 'gm' of the baseline 'vanilla'"):
        overview_grid(two, "gm")
    alone = comparison(tmp_path, "alone", {"lds/seed_{}": [(1.0, 1.0)]})
    with pytest.raises(ValueError, match="--overview: alone has no 'mae' of the baseline 'vanilla'"):
        overview_grid([alone], "mae")


def test_script_prints_the_table_with_its_command(
    two: list[Comparison], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    main(["one", "two", "--overview", "mae", "--methods", "vanilla"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "<!-- python scripts/compare.py one two --overview mae --methods vanilla -->"
    assert lines[-1] == "<!-- end -->"
    assert "| vanilla | (3) | (10) | (3) | (10) |" in lines
    main(["one", "--readme", "mae"])
    assert capsys.readouterr().out.startswith("<!-- python scripts/compare.py one --readme mae -->\n\nMean ±")
    assert not list(tmp_path.rglob("compare.*")), "--overview and --readme print and write no files"


@pytest.mark.parametrize(
    ("options", "first", "second"),
    [
        ("--ranks mae --overview mae", "--ranks:", "--overview"),
        ("--ranks mae --collect x", "--ranks:", "--collect"),
        ("--ranks mae --forest mae x.png", "--ranks:", "--forest"),
        ("--overview mae --frontier mae x.png", "--overview:", "--frontier"),
        ("--overview mae --readme mae", "--overview:", "--readme"),
        ("--overview mae --out x", "--overview:", "--out"),
        ("--readme mae --out x", "--readme:", "--out"),
        ("--force", "--force:", "--collect"),
    ],
)
def test_options_that_would_have_no_effect_are_refused(
    tmp_path: Path,
    options: str,
    first: str,
    second: str,
    two: list[Comparison],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["one", *options.split()])
    error = capsys.readouterr().err.splitlines()[-1]
    assert first in error
    assert second in error.partition(first)[2]
    assert {path.name for path in tmp_path.iterdir()} == {"one", "two"}


def test_the_order_of_methods_names_each_once() -> None:
    assert len(set(METHOD_ORDER)) == len(METHOD_ORDER)
