"""The table over several data sets, by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dir.compare.cli import main
from dir.compare.overview import overview_grid
from dir.compare.runs import METHOD_ORDER, find_runs
from dir.compare.statistics import Comparison, compare


def comparison(root: Path, name: str, errors: dict[str, list[tuple[float, float | None]]]) -> Comparison:
    """``errors[method]``: (all, few) of each seed."""
    for method, pairs in errors.items():
        for seed, (total, few) in enumerate(pairs):
            path = root / name / f"{method.format(seed)}.json"
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
    # lds: (-0.1 + 0.3) / 2 of a mean of 3, unsure; few: -2 of 10 in both seeds, sure.
    assert grid.rows == (
        ("vanilla", "(3)", "(10)", "(3)", "(10)"),
        ("lds", "+3.3", "**-20.0**", "-", "-"),
        ("huber", "-", "-", "+10.0", "-"),
    )


def test_what_has_no_change_is_refused(two: list[Comparison], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lower is better, got 'pearson'"):
        overview_grid(two, "pearson")
    with pytest.raises(ValueError, match="one has no 'gm' of 'vanilla'"):
        overview_grid(two, "gm")
    alone = comparison(tmp_path, "alone", {"lds/seed_{}": [(1.0, 1.0)]})
    with pytest.raises(ValueError, match="alone has no 'mae' of 'vanilla'"):
        overview_grid([alone], "mae")


def test_script_marks_the_table_with_the_command_that_makes_it(
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
    assert not list(tmp_path.rglob("compare.*")), "tables to paste are printed, not written"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--ranks mae --overview mae", "--ranks does not go with --overview"),
        ("--ranks mae --collect x", "--ranks does not go with --collect"),
        ("--ranks mae --forest mae x.png", "--ranks does not go with --forest"),
        ("--overview mae --frontier mae x.png", "--overview does not go with --frontier"),
        ("--overview mae --readme mae", "--overview does not go with --readme"),
        ("--overview mae --out x", "--overview does not go with --out"),
        ("--readme mae --out x", "--readme does not go with --out"),
        ("--force", "--force goes with --collect"),
    ],
)
def test_options_that_would_be_left_aside_are_refused(
    tmp_path: Path,
    options: str,
    message: str,
    two: list[Comparison],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["one", *options.split()])
    assert message in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"one", "two"}


def test_the_order_of_methods_names_each_once() -> None:
    assert len(set(METHOD_ORDER)) == len(METHOD_ORDER)
