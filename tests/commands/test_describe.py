"""dir-describe on files of every kind."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from PIL import Image

from dir.commands.advice import experiment_file, suggest_overrides
from dir.commands.describe import describe, main
from dir.commands.screen import picture
from dir.commands.sources import compose_config
from dir.data import TabularData
from dir.recipe.cli import config_dir
from dir.recipe.schema import register_configs


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Return a csv of 400 rows with a skewed target, and one input that occurs twice."""
    random = np.random.default_rng(0)
    x = random.normal(size=(400, 2))
    x[1] = x[0]
    y = np.exp(2 * x[:, 0] + 0.3 * random.normal(size=400))
    pd.DataFrame({"u": x[:, 0], "v": x[:, 1], "y": y}).to_csv(tmp_path / "skewed.csv", index=False)
    return tmp_path / "skewed.csv"


def described(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    main([*arguments, "--json"])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_table_is_read_as_the_recipe_reads_it(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = described(capsys, f"data.path={table}", "data.target=y")
    data = TabularData(str(table), "y")
    data.setup()
    for split in ("train", "val", "test"):
        assert found["labels"][split]["rows"] == len(data.labels(split))  # type: ignore[arg-type]
    assert sum(found["histogram"]["counts"]) == found["labels"]["train"]["rows"]
    assert found["inputs"]["rows"] == 2
    labels = pd.read_csv(table)["y"]
    assert found["inputs"]["disagreement"] == pytest.approx(abs(labels[0] - labels[1]) / 2, rel=1e-5)
    rows = found["labels"]["train"]["rows"]
    assert [override for override, _ in found["suggested"]] == [
        "data.log_target=true",
        f"task.bins.num_bins={rows // 20}",
        "method=lds",
    ]


def test_the_command_and_the_experiment_file_are_ready(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([f"data.path={table}", "data.target=y", "--config", str(tmp_path / "own")])
    printed = capsys.readouterr().out
    (line,) = (line for line in printed.splitlines() if line.startswith("dir-train "))
    file = tmp_path / "own/experiment/skewed-y.yaml"
    assert f"written to {file}: dir-train --config-dir {tmp_path / 'own'} +experiment=skewed-y" in printed
    register_configs()
    with initialize_config_dir(config_dir(), version_base="1.3"):
        by_command = compose("train", shlex.split(line)[1:])
        search = f"hydra.searchpath=[file://{tmp_path / 'own'}]"
        by_file = compose("train", ["+experiment=skewed-y", search])
    assert OmegaConf.to_container(by_file, resolve=True) == OmegaConf.to_container(by_command, resolve=True)
    assert by_file.method.lds is not None
    assert by_file.data.log_target is True
    # The same suggestions again are no conflict, others are.
    main([f"data.path={table}", "data.target=y", "--config", str(tmp_path / "own")])
    with pytest.raises(SystemExit, match=r"--config: .*exists and differs"):
        main([f"data.path={table}", "data.target=y", "method=vanilla", "--config", str(tmp_path / "own")])


def test_paths_of_an_experiment_file_are_absolute_and_no_path_stays_none() -> None:
    text = experiment_file(["+experiment=tabular", "data.path=x.csv", "data.test_path=null"], "c")
    settings = OmegaConf.create(text)
    assert settings.data.path == str(Path("x.csv").resolve())
    assert settings.data.test_path is None


def test_a_file_of_pictures_is_named_by_its_own_setting(tmp_path: Path) -> None:
    (tmp_path / "x.doc").write_text("a")
    with pytest.raises(SystemExit, match=r"^data\.csv: expected a file that ends in"):
        main([f"data.csv={tmp_path / 'x.doc'}", "data.target=y"])


def test_the_screen_shows_every_part_and_fits(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([f"data.path={table}", "data.target=y"])
    lines = capsys.readouterr().out.splitlines()
    text = "\n".join(lines)
    for part in (
        *("effective density", "shot group", "denseweight", "imbalance", "  share 0.", "  ratio ", "  distance 0."),
        *("outliers", "log(1 + label)", "equal inputs", "between splits", "dir-train +experiment=tabular"),
    ):
        assert part in text
    assert len(lines) < 60


def test_the_picture_shows_the_counts_and_the_densities(table: Path, tmp_path: Path) -> None:
    register_configs()
    report = describe([f"data.path={table}", "data.target=y"])
    (axes,) = picture(report).axes
    bars: Any = axes.containers[0]
    assert [bar.get_height() for bar in bars] == report["histogram"]["counts"]
    drawn = [line.get_ydata() for line in axes.lines]
    np.testing.assert_allclose(np.asarray(drawn[0]), report["histogram"]["effective"])
    assert np.asarray(drawn[1])[0] == pytest.approx(np.mean(report["histogram"]["counts"]))
    main([f"data.path={table}", "data.target=y", "--picture", str(tmp_path / "new/density.svg")])
    assert (tmp_path / "new/density.svg").read_text().rstrip().endswith("</svg>")


def test_a_table_that_the_recipe_refuses_is_described_with_the_reasons(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pd.read_csv(table).assign(name=[f"house {n}" for n in range(400)]).to_csv(table, index=False)
    found = described(capsys, f"data.path={table}", "data.target=y")
    assert found["labels"]["train"]["rows"] == 400
    assert "data.drop=[name]" in found["notes"][0]
    assert found["command"] == ""
    found = described(capsys, f"data.path={table}", "data.target=y", "data.drop=[name]")
    assert found["notes"] == []
    assert "'data.drop=[name]'" in found["command"]
    with pytest.raises(SystemExit, match=r"--config: no recipe reads this data"):
        main([f"data.path={table}", "data.target=y", "--config", str(table.parent)])


def test_a_list_of_pictures_is_described_by_its_label_and_split(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {"path": [f"{n}.png" for n in range(60)], "weight": np.arange(60) % 7 + 0.5}
    rows["split"] = ["train"] * 40 + ["val"] * 10 + ["test"] * 10
    pd.DataFrame(rows).to_csv(tmp_path / "list.csv", index=False)
    found = described(capsys, f"data.csv={tmp_path / 'list.csv'}", "data.target=weight")
    assert {split: labels["rows"] for split, labels in found["labels"].items()} == {
        "train": 40,
        "val": 10,
        "test": 10,
    }
    assert found["repeats"]["distinct"] == 7

    assert "refuses the file" in found["notes"][0]


def test_pictures_are_read_by_their_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"{n}.png" for n in range(60)]
    for n, name in enumerate(names):
        pixels = np.full((8, 8, 3), n if n else 1, dtype=np.uint8)  # pictures 0 and 1 are equal
        Image.fromarray(pixels).save(tmp_path / name)
    pd.DataFrame({"file": names, "weight": np.arange(60) % 7 + 0.5}).to_csv(tmp_path / "list.csv", index=False)
    found = described(capsys, f"data.csv={tmp_path / 'list.csv'}", "data.target=weight")
    assert found["notes"] == []
    assert sum(labels["rows"] for labels in found["labels"].values()) == 60
    assert found["inputs"]["rows"] == 2
    assert found["command"].startswith("dir-train +experiment=images")
    assert found["suggested"][0][0] == "task.bins.num_bins=10"
    assert compose_config(found["overrides"]).task.bins.num_bins == 10


def test_a_logarithm_that_the_recipe_has_no_setting_for_is_a_note(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"text {n},{np.exp(n / 10):.3f}" for n in range(100)]
    (tmp_path / "words.csv").write_text("\n".join(["text,dose", *rows]))
    given = [f"data.path={tmp_path / 'words.csv'}", "data.text=text", "data.target=dose"]
    found = described(capsys, *given)
    assert found["transform"]["log1p"]
    assert "log_target" not in found["command"]
    assert found["notes"][-1].startswith(
        "+experiment=text has no data.log_target. Write log(1 + label) into the file"
    )


def test_texts_are_read_as_the_file_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # A quotation mark at the start of a text, which is never closed.
    rows = [f"{chr(34) if n in (3, 30) else ''}text {n}\t{n % 5 if n else -99}" for n in range(50)]
    (tmp_path / "mood.tsv").write_text("\n".join(["text\tscore", *rows]))
    given = [f"data.path={tmp_path / 'mood.tsv'}", "data.text=text", "data.target=score", "data.quoting=none"]
    found = described(capsys, *given, "data.na_values=[-99]")
    assert (found["labels"]["train"]["rows"], found["labels"]["train"]["min"]) == (49, 0)
    with pytest.raises(SystemExit, match=r"no column 'part' .*data\.split_column"):
        main([*given, "data.split_column=part"])
    with pytest.raises(SystemExit, match=r"neither enclose a text.*Set data\.quoting=none"):
        main(given[:-1])


def test_the_labels_of_texts_are_described_without_the_texts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"a text, with a comma {n}\t{n % 5}" for n in range(50)]
    (tmp_path / "mood.tsv").write_text("\n".join(["text\tscore", *rows]))
    found = described(capsys, f"data.path={tmp_path / 'mood.tsv'}", "data.text=text", "data.target=score")
    assert found["labels"]["train"]["rows"] == 50
    assert found["command"].startswith("dir-train +experiment=text ")


@pytest.mark.parametrize("kind", ["header", "plain", "npy", "npz"])
def test_a_column_of_numbers(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = np.array([0.0, 0.0, 1.5, 2.0, 8.25])
    path, more = tmp_path / f"dose.{'txt' if kind in ('header', 'plain') else kind}", []
    if kind == "npy":
        np.save(path, values)
    elif kind == "npz":
        np.savez(path, dose=values)
        more = ["data.target=dose"]
    else:
        path.write_text(("dose\n" if kind == "header" else "") + "\n".join(map(str, values)) + "\n")
    found = described(capsys, f"data.path={path}", *more)
    assert found["labels"]["train"]["rows"] == 5
    assert found["repeats"]["zeros"] == 2
    assert (found["labels"]["train"]["min"], found["labels"]["train"]["max"]) == (0.0, 8.25)
    assert found["unit"] == "dose"


def test_pictures_in_an_npz_file_are_read_by_their_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = np.random.default_rng(0).integers(0, 255, (60, 8, 8), dtype=np.uint8)
    images[1], images[45] = images[0], images[0]
    split = np.repeat(["train", "val", "test"], [40, 10, 10])
    np.savez(tmp_path / "cells.npz", images=images, split=split, count=np.arange(60) % 9)
    found = described(capsys, f"data.path={tmp_path / 'cells.npz'}", "data.label=count")
    assert found["inputs"]["rows"] == 3
    assert [one["shared_rows"] for one in found["inputs"]["leakage"]] == [1, 0, 0]
    assert found["command"].startswith("dir-train +experiment=images_npz")


def test_the_data_of_an_experiment(table: Path) -> None:
    register_configs()
    by_name = describe(["+experiment=tabular", f"data.path={table}", "data.target=y"])
    assert {**by_name, "name": "skewed.csv"} == describe([f"data.path={table}", "data.target=y"])


def test_uniform_labels_need_no_method(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = np.random.default_rng(0).normal(size=(3000, 2))
    pd.DataFrame({"u": x[:, 0], "v": x[:, 1], "y": np.arange(3000) % 20}).to_csv(table, index=False)
    found = described(capsys, f"data.path={table}", "data.target=y")
    assert found["suggested"][-1] == ["method=vanilla", "the labels are nearly uniform"]


def test_a_setting_of_the_user_is_not_suggested_again() -> None:
    report = {
        "transform": {"log1p": True, "reason": "r"},
        "bins": {"kind": "equal", "number": 20, "reason": "r"},
        "shots": {"many": {"train": 0}, "few": {"train": 5}},
        "imbalance": {"verdict": "strongly imbalanced"},
    }
    given = ["+experiment=tabular", "data.log_target=false", "method=sqinv"]
    assert [override for override, _ in suggest_overrides(report, given)] == [
        "task.bins.num_bins=20", "task.shots.by=quantile"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "arguments", "match"),
    [
        ("a\n1\nx\n", [], r"data\.path: .*got 'x'"),
        ("a,b\n1,2\n", ["data.target=c"], r"no column 'c'"),
        ("", [], r"data\.path: "),
        ("1\nnan\n", [], r"finite"),
        ("5\n5\n", [], r"two distinct"),
    ],
)
def test_files_without_labels_are_refused(content: str, arguments: list[str], match: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(content)
    with pytest.raises(SystemExit, match=match):
        main([f"data.path={tmp_path / 'x.csv'}", *arguments])
