"""dir-describe on several targets: a block for each, and settings that hold for all of them."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir

from dir.commands.advice import suggest_for_targets
from dir.commands.describe import describe, main
from dir.commands.screen import picture
from dir.recipe.cli import config_dir
from dir.recipe.schema import register_configs


@pytest.fixture(autouse=True)
def configs() -> None:
    register_configs()


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Return a csv of 400 rows with a skewed target, a uniform one, and one input that occurs twice."""
    random = np.random.default_rng(0)
    x = random.normal(size=(400, 2))
    x[1] = x[0]
    skewed = np.exp(2 * x[:, 0] + 0.3 * random.normal(size=400))
    even = random.permutation(400) / 40
    frame = pd.DataFrame({"u": x[:, 0], "v": x[:, 1], "skewed": skewed, "even": even})
    frame.to_csv(tmp_path / "two.csv", index=False)
    return tmp_path / "two.csv"


def test_each_target_has_the_report_that_it_has_alone(table: Path) -> None:
    found = describe([f"data.path={table}", "data.target=[skewed,even]", "data.split=random"])
    assert found["unit"] == "skewed+even"
    for name, other in (("skewed", "even"), ("even", "skewed")):
        # Rows of a random split depend on the labels' number alone.
        alone = describe([f"data.path={table}", f"data.target={name}", f"data.drop=[{other}]", "data.split=random"])
        report = found["targets"][name]
        for key in ("labels", "histogram", "imbalance", "shots", "weights", "transform", "inputs"):
            assert report[key] == alone[key], key
    labels = pd.read_csv(table)["even"]
    away = found["targets"]["even"]["inputs"]["disagreement"]
    assert away == pytest.approx(abs(labels[0] - labels[1]) / 2, rel=1e-5)


def test_the_screen_has_a_block_for_each_target_and_a_command_that_dir_train_takes(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([f"data.path={table}", "data.target=[skewed,even]", "--config", str(tmp_path / "own")])
    printed = capsys.readouterr().out
    assert "two.csv: 2 targets, train 2" in printed
    assert "skewed           The labels are strongly imbalanced." in printed
    assert "even             The labels are nearly uniform." in printed
    assert "data.log_target has no form for several targets." in printed
    assert "(skewed), " in printed
    # One screen, though the terminal of a test is narrow.
    assert len(printed.splitlines()) < 40
    (line,) = (line for line in printed.splitlines() if line.startswith("dir-train +"))
    with initialize_config_dir(config_dir(), version_base="1.3"):
        by_command = compose("train", shlex.split(line)[1:])
        search = f"hydra.searchpath=[file://{tmp_path / 'own'}]"
        by_file = compose("train", ["+experiment=two-skewed_even", search])
    assert by_command.method.lds is not None
    assert by_command.data.target == by_file.data.target == ["skewed", "even"]
    assert by_command.data.log_target is False


def test_one_imbalanced_target_is_enough_for_lds() -> None:
    def report(verdict: str, many: int) -> dict[str, Any]:
        groups = {name: {"train": many} for name in ("many", "median", "few", "zero")}
        bins = {"kind": "equal", "number": 20, "reason": "few rows"}
        transform = {"log1p": True, "reason": "skewed"}
        return {"transform": transform, "bins": bins, "shots": groups, "imbalance": {"verdict": verdict}}

    reports = {"a": report("nearly uniform", 5), "b": report("strongly imbalanced", 0)}
    assert suggest_for_targets(reports, ["+experiment=tabular"]) == [
        ("task.bins.num_bins=20", "few rows (a, b)"),
        ("task.shots.by=quantile", "no training label is many or few-shot by count (b)"),
        ("method=lds", "the labels are strongly imbalanced (b)"),
    ]
    assert suggest_for_targets({"a": reports["a"]}, ["task.bins.num_bins=9"])[-1][0] == "method=vanilla"


def test_a_table_that_the_recipe_refuses_is_described_by_its_targets(table: Path) -> None:
    frame = pd.read_csv(table)
    frame.loc[3, "even"] = np.nan
    frame.to_csv(table, index=False)
    found = describe([f"data.path={table}", "data.target=[skewed,even]"])
    assert [one["labels"]["train"]["rows"] for one in found["targets"].values()] == [400, 399]
    assert "The recipe `tabular` refuses the file" in found["notes"][0]
    assert "1 rows without a label were left out." in found["notes"]
    assert found["command"] == ""


def test_scores_of_sentences_are_described_without_reading_the_sentences(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    scores = random.normal(3, 0.5, size=(200, 3)).round(2)
    frame = pd.DataFrame(scores, columns=["V", "A", "D"]).assign(text="a sentence")
    frame.to_csv(tmp_path / "emo.tsv", sep="\t", index=False)
    found = describe([f"data.path={tmp_path / 'emo.tsv'}", "data.text=text", "data.target=[V,A,D]"])
    for name, report in found["targets"].items():
        assert report["labels"]["train"]["median"] == pytest.approx(frame[name].median())
    assert json.loads(json.dumps(found)) is not None
    drawn = picture(found)
    assert [axes.get_xlabel() for axes in drawn.axes] == ["label (V)", "label (A)", "label (D)"]
