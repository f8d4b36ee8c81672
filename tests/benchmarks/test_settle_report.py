"""The page of the settling table is computed from result lines."""

import math

import pytest

from benchmarks.settle import queue, report
from benchmarks.settle.curves import height
from benchmarks.settle.plan import NUM_TRIALS, trainings_of
from benchmarks.settle.queue import add_result
from dir.compare.ranks import critical_difference

FACTORS = {"all": 1.0, "many": 0.8, "median": 1.2, "few": 2.0}


def groups(error: float) -> dict:
    found = {
        name: {"n": 50, "mae": error * factor, "mse": error, "balanced_mae": error}
        for name, factor in FACTORS.items()
    }
    return found | {"zero": {"n": 0, "mae": None, "mse": None, "balanced_mae": None}}


def row(error: float, **more: object) -> dict:
    return {"groups": groups(error), "bmase": error / 10, "sera": error * 100} | more


def rows_of(key: str, error: float) -> dict:
    if key == "vanilla":
        return {"vanilla": row(error), "isotonic": row(error - 0.5)}
    if key == "tabm_prior":
        return {"tabm_prior_chosen": row(error, power=0.5)}
    if key == "histogram_prior":
        covered = {"coverage": {"all": 0.91, "few": 0.8}}
        found = {f"histogram_prior_{power}": row(error, **covered) for power in ("0", "0.5", "1")}
        found["histogram_prior_chosen"] = row(error, power=0.6, **covered)
        # At every power both errors are lower than those of all weights.
        return found | {"curve": {f"{power / 10:g}": groups(0.5) for power in range(13)}}
    return {key: row(error)}


def fill(names: list[str]) -> None:
    """Write the result lines of complete data sets."""
    for name in names:
        for at, key in enumerate(trainings_of(name)):
            base = {"data": name, "training": key}
            for number in range(NUM_TRIALS):
                choice = {"choice": [f"n={number}"], "objective": None if number == 5 else 1.0 + abs(number - 2)}
                add_result(base | {"role": "trial", "number": number} | choice)
            for seed in range(3):
                add_result(base | {"role": "test", "number": seed, "rows": rows_of(key, 2.0 + at + 0.1 * seed)})


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    tmp_path, monkeypatch = tmp_path_factory.mktemp("settle"), pytest.MonkeyPatch()
    monkeypatch.setattr(queue, "RESULTS", tmp_path / "results")
    for name, file in (("PAGE", "settle.md"), ("README", "README.md")):
        monkeypatch.setattr(report, name, tmp_path / file)
        block = "<!-- python -m benchmarks.settle report -->\nold\n<!-- end -->"
        (tmp_path / file).write_text(f"Intro\n{block}\nOutro\n")
    fill(["concrete", "abalone"])
    # Seeds that not all trainings have are left out.
    for key in ("vanilla", "histogram_prior"):
        rows = rows_of(key, 99.0)
        rows |= {"curve": {power: groups(99.0) for power in rows["curve"]}} if "curve" in rows else {}
        add_result({"data": "abalone", "training": key, "role": "test", "number": 3, "rows": rows})
    # One training of digits is missing: the data set is not shown.
    for key in trainings_of("digits")[1:]:
        add_result({"data": "digits", "training": key, "role": "test", "number": 0, "rows": rows_of(key, 2.0)})
    report.write_page()
    yield report.PAGE
    monkeypatch.undo()


def test_the_block_is_replaced_and_the_rest_stays(page):
    text = page.read_text()
    assert text.startswith("Intro\n")
    assert text.endswith("<!-- end -->\nOutro\n")
    assert "\nold\n" not in text
    assert (page.parent / "settle_abalone.png").stat().st_size > 10_000


def test_the_readme_shows_the_balanced_error_of_known_methods(page):
    lines = (page.parent / "README.md").read_text().splitlines()
    assert lines[:4] == [
        *("Intro", "<!-- python -m benchmarks.settle report -->"),
        *("| bMASE | concrete | abalone |", "| --- | --- | --- |"),
    ]
    # vanilla and sqinv have errors of 2.1 and 4.1 at all groups: bMASE is a tenth.
    assert "| `vanilla` | **0.21** | **0.21** |" in lines
    assert lines[-2:] == ["<!-- end -->", "Outro"]


def test_means_differences_and_choices_of_a_data_set(page):
    (abalone,) = (one for one in report.comparisons() if one.experiment == "abalone")
    text = "\n".join(report.data_set_parts(abalone, "../"))
    assert "![Few-shot over many-shot error on abalone](../settle_abalone.png)" in text
    assert "[abalone](results/abalone.md#equal-budgets)" in page.read_text()
    assert "| vanilla | 3 | 2.10 ± 0.10 |" in text
    isotonic = next(line for line in text.splitlines() if line.startswith("| isotonic | 3 |"))
    assert "-0.50 [-0.50, -0.50] | -1.00 [-1.00, -1.00] | 0.160 |" in isotonic
    assert "| lds | n=2 | 1 | 3 | 5 of 6 |" in text
    assert "0.91 / 0.80" in text


def test_trials_of_the_prior_are_compared_at_one_rate(page):
    # The objectives are 1 + |number - 2|, none for trial 5. Rate x 1: numbers 4, 1 and 0; rate x 3: 5, 2 and 3.
    text = page.read_text()
    assert "| abalone | 1.50 | - | 1.00 | - |" in text
    assert "| **geometric mean** | 1.50 | - | 1.00 | - |" in text
    assert "| **below 1** | 0 of 2 | 0 of 0 | 0 of 2 | 0 of 0 |" in text


def test_tabm_is_compared_on_its_own_seeds(page):
    # rows_of: the mean error over seeds 0 to 2 is 2.1 plus the place of the training; bMASE is a tenth of it.
    place = trainings_of("abalone").index
    lines = page.read_text().splitlines()
    assert "| bMASE | concrete (3 seeds) | abalone (3 seeds) |" in lines
    for label, key in (("`hist_gbdt`", "hist_gbdt"), ("`model=tabm method=histogram_prior`", "tabm_prior")):
        (line,) = (line for line in lines if line.startswith(f"| {label} |"))
        assert f"{(2.1 + place(key)) / 10:.3f}" in line


def test_incomplete_data_sets_are_named_and_not_ranked(page):
    text = page.read_text()
    waiting = next(line for line in text.splitlines() if line.startswith("Not complete yet:"))
    assert "digits" in waiting
    assert "### digits" not in text


def test_ranks_and_their_diagrams_come_with_six_data_sets(page, tmp_path, monkeypatch):
    assert "Average ranks" not in page.read_text()
    assert not list(page.parent.glob("settle_ranks_*"))
    monkeypatch.setattr(queue, "RESULTS", tmp_path)
    monkeypatch.setattr(report, "PAGE", tmp_path / "settle.md")
    fill(["concrete", "abalone", "sulfur_y1", "stsb_minilm", "complex_single", "blood_cells"])
    found = report.comparisons()
    monkeypatch.setattr(report, "comparisons", lambda: found)  # they cost two seconds
    report.draw_ranks(found)
    text = "\n".join(report.parts())
    for metric, group in (("bmase", "all"), ("mae", "all"), ("mae", "few")):
        part = text[text.index(f"### Average ranks by {metric}, {group}\n") :]
        assert part.splitlines()[1].endswith(f"(settle_ranks_{metric}_{group}.png)")
        assert (tmp_path / f"settle_ranks_{metric}_{group}.png").stat().st_size > 10_000
        # Isotonic has the lowest error of every data set, and vanilla the next.
        assert "\n| isotonic | 1.00 | 1 | 1 | 1 | 1 | 1 | 1 |" in part
        assert "\n| vanilla | 2.00 | 2 | 2 | 2 | 2 | 2 | 2 |" in part
        # 11 methods run on all six data sets. Three more rows are the training of histogram_prior_chosen.
        rows = [line.split(" | ")[0] for line in part[: part.index("Rank 1")].splitlines() if " | " in line][2:]
        assert len(rows) == 11
        assert [row for row in rows if "prior" in row] == ["| histogram_prior_chosen"]
        assert f"further apart than {critical_difference(11, 6):.2f} differ" in part
        assert "Not ranked: histogram_prior_0, histogram_prior_0.5, histogram_prior_1" in part


def test_goals(page):
    text = page.read_text()
    # Only a point of the curve is within the bounds of abalone. The test errors pick its power: the goal is missed.
    row, curve = "isotonic | few 3.20, all 1.60 | missed", "power 0: few 1.00, all 0.50 (within)"
    assert f"| abalone | few <= 2.9, all <= 1.85 | {row} | {curve} |" in text
    assert "| concrete | all <= 4, few <= 4 | isotonic | all 1.60, few 3.20 | met |" in text
    assert "| faces | all <= 7.1 | - | not complete yet | - |" in text
    assert "2 of 2: concrete, abalone | open | 22 of 22 points |" in text


def test_height_of_the_curve_of_the_weights():
    weights = [(1.0, 4.0), (2.0, 2.0), (4.0, 1.0)]
    assert height(weights, 1.5) == 3.0
    assert height(weights, 3.0) == 1.5
    assert height(weights, 9.0) == 1.0
    assert math.isinf(height(weights, 0.5))
