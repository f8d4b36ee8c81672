"""dir.compare.ranks and forest: SciPy and a published table are the oracles."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import matplotlib
import pytest
from scipy import stats

from dir.compare.cli import main
from dir.compare.forest import forest_plot
from dir.compare.ranks import critical_difference, diagram, holm, rank_grid, rank_methods, report_ranks
from dir.compare.runs import find_runs
from dir.compare.statistics import Comparison, compare

# Mean errors of three methods on five data sets.
ERRORS = {
    "one": {"vanilla": 3.0, "lds": 2.0, "fds": 2.5},
    "two": {"vanilla": 1.0, "lds": 0.8, "fds": 1.1},
    "three": {"vanilla": 9.0, "lds": 7.0, "fds": 9.0},
    "four": {"vanilla": 0.5, "lds": 0.4, "fds": 0.3},
    "five": {"vanilla": 5.0, "lds": 4.1, "fds": 5.2},
}


def comparison(root: Path, name: str, errors: dict[str, float], pearson: float = 0.5, few: float = 0.0) -> Comparison:
    for method, error in errors.items():
        for seed, off in enumerate((-0.01, 0.0, 0.01)):
            path = root / name / method / f"seed_{seed}" / "metrics.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            value = error + off * (1 + error / 10)
            groups = {
                "all": {"n": 10, "mae": value, "pearson": pearson - value / 100},
                "few": {"n": 0, "mae": None, "pearson": None},
            }
            if few:
                groups["few"] = {"n": 5, "mae": few * value, "pearson": pearson}
            path.write_text(json.dumps({"test": groups}))
    runs, _ = find_runs(root / name)
    return compare(runs)


@pytest.fixture
def comparisons(tmp_path: Path) -> list[Comparison]:
    return [comparison(tmp_path, name, errors) for name, errors in ERRORS.items()]


def test_ranks_average_over_data_sets_and_ties_share(comparisons: list[Comparison]) -> None:
    ranks = rank_methods(comparisons, "mae")
    assert ranks.datasets == ("one", "two", "three", "four", "five")
    assert ranks.ranks["lds"] == (1, 1, 1, 2, 1)
    assert ranks.ranks["fds"] == (2, 3, 2.5, 1, 3)
    assert ranks.average["vanilla"] == pytest.approx((3 + 2 + 2.5 + 3 + 2) / 5)
    assert ranks.methods[0] == "lds"


def test_friedman_is_scipys(comparisons: list[Comparison]) -> None:
    columns = [[errors[method] for errors in ERRORS.values()] for method in ("vanilla", "lds", "fds")]
    assert rank_methods(comparisons, "mae").friedman == pytest.approx(stats.friedmanchisquare(*columns).pvalue)


def test_ranks_are_reversed_if_higher_is_better(comparisons: list[Comparison]) -> None:
    # Pearson falls as the error grows, so that the order of the methods is the same.
    assert rank_methods(comparisons, "pearson").average == pytest.approx(rank_methods(comparisons, "mae").average)


@pytest.mark.parametrize(("methods", "q"), [(2, 1.960), (3, 2.343), (5, 2.728), (10, 3.164)])
def test_critical_difference_has_the_published_quantiles(methods: int, q: float) -> None:
    # Demsar 2006, Table 5a, alpha 0.05.
    expected = q * math.sqrt(methods * (methods + 1) / (6 * 12))
    assert critical_difference(methods, 12) == pytest.approx(expected, rel=1e-3)


def test_a_gap_of_the_critical_difference_has_p_five_percent() -> None:
    gap = critical_difference(4, 6) / math.sqrt(4 * 5 / 36) * math.sqrt(2)
    assert stats.studentized_range.sf(gap, 4, math.inf) == pytest.approx(0.05, rel=1e-3)


def test_wilcoxon_is_corrected_by_holm(comparisons: list[Comparison]) -> None:
    ranks = rank_methods(comparisons, "mae")
    raw = {method: stats.wilcoxon(ranks.values[method], ranks.values["vanilla"]).pvalue for method in ("lds", "fds")}
    assert ranks.wilcoxon["lds"] == pytest.approx(2 * raw["lds"])
    assert ranks.wilcoxon["fds"] == pytest.approx(max(2 * raw["lds"], raw["fds"]))
    assert math.isnan(ranks.wilcoxon["vanilla"])
    assert holm([0.04, math.nan, 0.01]) == pytest.approx([0.04, math.nan, 0.02], nan_ok=True)


def test_methods_that_a_data_set_lacks_are_left_out_and_named(comparisons: list[Comparison], tmp_path: Path) -> None:
    more = comparison(tmp_path / "more", "six", {"vanilla": 1.0, "fds": 2.0, "inv": 3.0})
    ranks = rank_methods([*comparisons, more], "mae")
    assert set(ranks.methods) == {"vanilla", "fds"}
    assert ranks.left_out == ("lds", "inv")
    assert math.isnan(ranks.friedman)
    assert "lds, inv" in rank_grid(ranks).caption


def test_means_over_different_seeds_are_named(comparisons: list[Comparison], tmp_path: Path) -> None:
    assert "different seeds" not in rank_grid(rank_methods(comparisons, "mae")).caption
    (tmp_path / "two" / "fds" / "seed_2" / "metrics.json").unlink()
    fewer = compare(find_runs(tmp_path / "two")[0])
    caption = rank_grid(rank_methods([comparisons[0], fewer, *comparisons[2:]], "mae")).caption
    assert "different seeds on two: their means are over other runs." in caption


def test_data_sets_without_few_shot_labels_are_ranked_by_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, errors in ERRORS.items():
        comparison(tmp_path, name, errors)
    main([*(str(tmp_path / name) for name in ERRORS), "--ranks", "mae"])
    printed = capsys.readouterr().out
    assert "ranks by mae, all" in printed
    assert "few-shot labels are not ranked. --ranks: mae on few needs two data sets" in printed


def test_data_sets_and_metrics_that_cannot_be_ranked_are_refused(comparisons: list[Comparison]) -> None:
    with pytest.raises(ValueError, match=r"runs: .*once, found one, one"):
        rank_methods([comparisons[0], comparisons[0]], "mae")
    with pytest.raises(ValueError, match="--ranks: mae on few"):
        rank_methods(comparisons, "mae", "few")
    with pytest.raises(ValueError, match="--ranks: one has no 'gm'"):
        rank_methods(comparisons, "gm")


def test_the_report_is_written_where_asked(comparisons: list[Comparison], tmp_path: Path) -> None:
    report_ranks([rank_methods(comparisons, "mae")], tmp_path / "out")
    text = (tmp_path / "out" / "ranks.md").read_text()
    assert "| lds | 1.20 | 1 | 1 | 1 | 2 | 1 |" in text


def test_small_p_values_are_not_zero(comparisons: list[Comparison]) -> None:
    ranks = replace(
        rank_methods(comparisons, "mae"),
        friedman=0.00024,
        wilcoxon={"lds": 2.1e-6, "fds": 0.0123, "vanilla": math.nan},
    )
    grid = rank_grid(ranks)
    assert "Friedman p = 0.0002 over" in grid.caption
    assert {row[0]: row[-1] for row in grid.rows} == {"lds": "2e-06", "fds": "0.012", "vanilla": "-"}


def test_the_diagram_has_the_numbers_of_the_table(comparisons: list[Comparison]) -> None:
    ranks = rank_methods(comparisons, "mae")
    one = diagram(ranks)
    assert dict(one.average) == dict(ranks.average)
    assert one.critical_difference == critical_difference(3, 5)
    assert one.friedman == ranks.friedman
    assert one.p_values["lds"] == ranks.wilcoxon["lds"]
    assert (one.datasets, one.baseline, one.title) == (5, "vanilla", "mae, all labels")


def test_the_command_draws_the_ranks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, errors in ERRORS.items():
        comparison(tmp_path, name, errors, few=2.0)
    folders, picture = [str(tmp_path / name) for name in ERRORS], tmp_path / "new" / "ranks.svg"
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        main([*folders, "--ranks", "mae", "--picture", str(picture)])
    drawn = picture.read_text()
    assert "mae, all labels" in drawn
    assert "mae, few-shot labels" in drawn
    assert ">lds  1.20<" in drawn
    assert "ranks by mae, few" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--picture", "ranks.png"], "--picture: only applies to --ranks"),
        (["--ranks", "mae", "--picture", "ranks.txt"], r"--picture: .*\.svg.*\.txt"),
    ],
)
def test_a_picture_that_cannot_be_drawn_is_refused_first(
    arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["no_folder_is_read", *arguments])
    assert re.search(problem, capsys.readouterr().err.replace("\n", " "))


def test_forest_draws_a_line_per_method_and_a_panel_per_group(comparisons: list[Comparison], tmp_path: Path) -> None:
    path = tmp_path / "new" / "forest.svg"
    forest_plot(comparisons[0], "mae", path)
    drawn = path.read_text()
    assert drawn.count("<svg") == 1
    assert "#2c7bb6" in drawn  # the interval of lds is below zero
    with pytest.raises(ValueError, match=r"--forest.*forest\.txt"):
        forest_plot(comparisons[0], "mae", tmp_path / "forest.txt")
    with pytest.raises(ValueError, match=r"--forest.*got 'gm'"):
        forest_plot(comparisons[0], "gm", path)


@pytest.mark.parametrize(
    ("metric", "side"), [("mae", "left of 0 is better"), ("pearson", "right of 0 is better"), ("coverage90", None)]
)
def test_the_forest_says_which_side_is_better_if_one_is(metric: str, side: str | None, tmp_path: Path) -> None:
    for method, base in (("vanilla", 0.5), ("vir", 0.6)):
        for seed in range(2):
            path = tmp_path / "task" / method / f"seed_{seed}" / "metrics.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"test": {"all": {"n": 5, metric: base + 0.01 * seed * base}}}))
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        forest_plot(compare(find_runs(tmp_path / "task")[0]), metric, tmp_path / "forest.svg")
    # A long remark is broken into lines, and each line is an element of its own.
    lines = re.findall(r">\s*([^<>\s][^<>]*)<", (tmp_path / "forest.svg").read_text())
    drawn = " ".join(lines)
    assert "over up to 2 paired seeds" in drawn
    assert side in drawn if side else any(line.endswith("paired seeds") for line in lines)
    assert ("better" in drawn) == (side is not None)


def test_forest_without_pairs_says_so(tmp_path: Path) -> None:
    alone = comparison(tmp_path, "alone", {"lds": 1.0})
    with pytest.raises(ValueError, match="--forest: no method shares two seeds with 'vanilla'"):
        forest_plot(alone, "mae", tmp_path / "forest.png")
