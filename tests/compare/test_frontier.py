"""Frontier plot and filter_methods, on generated runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dir.compare.cli import filter_methods
from dir.compare.frontier import frontier_plot, power_of
from dir.compare.runs import Run, find_runs
from dir.compare.statistics import Comparison, compare

# (many-shot error, few-shot error) of each row. The power is an override.
POINTS = {
    "vanilla/seed_{}": (1.0, 9.0),
    "power/seed_{},method.power=0.25": (1.2, 7.5),
    "power/seed_{},method.power=0.5": (1.5, 6.0),
    "sqinv/seed_{}": (1.5, 6.0),
    "lds/seed_{}": (1.4, 5.5),
    "lds_fds_shrink/seed_{}": (1.45, 5.0),
    "lds_affine/seed_{}": (1.6, 5.2),
}


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    for name, (many, few) in POINTS.items():
        for seed in range(3):
            path = tmp_path / "task" / name.format(seed) / "metrics.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            groups = {"all": many + few, "many": many, "few": few}
            values = {group: {"n": 9, "mae": value + 0.1 * seed, "pearson": 0.5} for group, value in groups.items()}
            path.write_text(json.dumps({"test": values}))
    return find_runs(tmp_path / "task")[0]


@pytest.fixture
def comparison(runs: list[Run]) -> Comparison:
    return compare(runs)


def draw(comparison: Comparison, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the figure that frontier_plot would write."""
    from matplotlib.figure import Figure

    drawn: list[Figure] = []
    with monkeypatch.context() as patch:
        patch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
        frontier_plot(comparison, "mae", Path("x.png"))
    return drawn[0]


def test_powers_are_on_the_line_and_other_methods_are_numbered_points(
    comparison: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = draw(comparison, monkeypatch)
    (axes,), (legend,) = figure.axes, figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["weights count^-p, p beside the point", "1 lds", "2 lds_fds_shrink", "3 lds_affine"]
    # vanilla, sqinv and power are on the line, not numbered. Vanilla is named.
    assert sorted(text.get_text() for text in axes.texts) == ["0.25", "0.5", "0.5", "1", "2", "3", "vanilla (p = 0)"]
    assert "up to 3 seeds" in axes.get_title(loc="left")
    assert [power_of(row.label) for row in comparison.rows].count(None) == 3


def test_a_picture_is_written_to_a_new_folder(comparison: Comparison, tmp_path: Path) -> None:
    frontier_plot(comparison, "mae", tmp_path / "new" / "frontier.svg")
    assert "<svg" in (tmp_path / "new/frontier.svg").read_text()


@pytest.mark.parametrize(
    ("label", "power"),
    [
        ("power", 0.5),
        ("power method.power=0.75", 0.75),
        ("inv", 1.0),
        ("power method.power=0.75,optimizer.lr=0.01", None),
        ("power data.limit=9,method.power=0.75", None),
        ("sqinv optimizer.lr=0.01", None),
    ],
)
def test_only_rows_that_differ_in_the_power_alone_are_on_the_line(label: str, power: float | None) -> None:
    assert power_of(label) == power


def test_metrics_and_files_that_cannot_be_drawn_are_refused(comparison: Comparison, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--frontier.*'mae', got 'gm'"):
        frontier_plot(comparison, "gm", tmp_path / "x.png")
    with pytest.raises(ValueError, match=r"--frontier.*'mae', got 'pearson'"):
        frontier_plot(comparison, "pearson", tmp_path / "x.png")
    with pytest.raises(ValueError, match=r"--frontier.*x\.txt"):
        frontier_plot(comparison, "mae", tmp_path / "x.txt")
    assert not list(tmp_path.glob("x.*"))


def test_an_empty_group_names_the_setting_to_change(tmp_path: Path) -> None:
    for seed in range(2):
        path = tmp_path / "task" / f"vanilla/seed_{seed}" / "metrics.json"
        path.parent.mkdir(parents=True)
        values = {"all": {"n": 9, "mae": 1.0}, "many": {"n": 9, "mae": 1.0}, "few": {"n": 0, "mae": None}}
        path.write_text(json.dumps({"test": values}))
    with pytest.raises(ValueError, match=r"--frontier: .* no few-shot .*task\.shots\.by=quantile"):
        frontier_plot(compare(find_runs(tmp_path / "task")[0]), "mae", tmp_path / "x.png")


def test_methods_are_chosen_by_name_with_all_their_overrides(runs: list[Run]) -> None:
    assert {run.label for run in filter_methods(runs, ["power", "lds"])} == {
        "power method.power=0.25",
        "power method.power=0.5",
        "lds",
    }
    assert filter_methods(runs, None) == runs
    with pytest.raises(ValueError, match="--methods: task has no run of nothing"):
        filter_methods(runs, ["lds", "nothing"])


def test_title_and_legend_of_many_methods_do_not_meet(runs: list[Run], monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    name = "a_rather_long_name_of_an_experiment-and_of_its_target_column_as_well"
    more = [replace(run, method=f"method_{number}") for run in runs[:1] for number in range(40)]
    figure = draw(compare([replace(run, experiment=name) for run in [*runs, *more]]), monkeypatch)
    FigureCanvasAgg(figure).draw()
    (axes,), (legend,) = figure.axes, figure.legends
    box = legend.get_window_extent()
    assert not axes._left_title.get_window_extent().overlaps(box)
    assert box.y0 >= 0
    assert box.x1 <= figure.bbox.x1
