"""The committed pages of docs/results are those of the committed results, and their commands made the runs."""

from __future__ import annotations

import itertools
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from benchmarks.results_pages import content, files
from benchmarks.results_pages.content import Page, commands_of, overview, text_of
from benchmarks.results_pages.sets import SETS
from benchmarks.settle import queue, report
from benchmarks.settle.readme import readme_grid
from dir.compare.report import markdown_table
from dir.compare.runs import find_runs

ROOT = Path(__file__).resolve().parents[2]
ADVICE = "Run python -m benchmarks.settle report && python -m benchmarks.results_pages, and commit what they write."


@pytest.fixture(scope="module")
def found() -> list[Page]:
    return content.pages()


def test_the_committed_files_are_those_of_the_command(found: list[Page]) -> None:
    written = files.files(found)
    assert set(written) >= {Path("docs/results.md"), Path("mkdocs.yml"), Path("docs/results/abalone.md")}
    for path, text in written.items():
        assert (ROOT / path).read_text(encoding="utf-8") == text, f"{path} is old. {ADVICE}"
    pages = {path.relative_to(ROOT) for path in (ROOT / "docs/results").iterdir()}
    assert pages == {path for path in written if path.parent == Path("docs/results")}, ADVICE


def test_the_page_of_the_settling_table_is_that_of_its_command() -> None:
    block = report._BLOCK.search(report.PAGE.read_text(encoding="utf-8"))
    assert block is not None
    assert block[0] == block[1] + "\n" + "\n\n".join(report.parts()) + "\n" + block[2], ADVICE


def test_the_first_table_of_the_readme_is_that_of_the_command() -> None:
    block = report._BLOCK.search(report.README.read_text(encoding="utf-8"))
    assert block is not None
    assert block[0] == block[1] + markdown_table(readme_grid(report.comparisons())) + block[2], ADVICE


def test_every_result_file_has_a_page_that_links_to_it() -> None:
    pages = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs/results").glob("*.md"))
    for folder in ("benchmarks/results", "benchmarks/settle/results"):
        for path in sorted((ROOT / folder).glob("*.jsonl")):
            assert f"(../../{folder}/{path.name})" in pages


@pytest.mark.parametrize("stem", [stem for about in SETS.values() for stem, *_ in about.files])
def test_the_commands_make_every_run_and_no_other(stem: str) -> None:
    runs, _ = find_runs(content.RESULTS / f"{stem}.jsonl")
    variable, made = "", set()
    for line in commands_of(runs):
        if line.startswith('D="'):
            variable = line.removeprefix('D="').removesuffix('"')
            continue
        program, script, *words = shlex.split(line.replace("$D", variable))
        assert (program, script) == ("python", "scripts/train.py")
        sweep = words[:1] == ["-m"]
        given = dict(word.split("=", 1) for word in words[sweep:])
        methods, seeds = given.pop("method").split(","), given.pop("seed").split(",")
        assert sweep == (len(methods) * len(seeds) > 1)
        new = {(*pair, frozenset(given.items())) for pair in itertools.product(methods, seeds)}
        assert not new & made
        made |= new
    expected = set()
    for run in runs:
        given = dict(part.split("=", 1) for part in run.content["run"]["overrides"])
        given.pop("logger", None)
        given.pop("trainer.enable_progress_bar", None)
        expected.add((given.pop("method"), given.pop("seed"), frozenset(given.items())))
    assert made == expected


def test_the_overview_has_the_means_of_the_files(found: list[Page]) -> None:
    lines = [json.loads(line) for line in (content.RESULTS / "abalone-Rings.jsonl").read_text().splitlines() if line]
    (row,) = (row for row in overview(found).rows if "(results/abalone.md)" in row[0])
    for cell, method in zip(row[3:6], ("vanilla", "lds", "histogram_prior"), strict=True):
        tests = [line["metrics"]["test"] for line in lines if (line["method"], line["suffix"]) == (method, "")]
        means = [np.mean([one[group]["mae"] for one in tests]) for group in ("all", "few")]
        assert cell == " / ".join(f"{mean:.3f}" for mean in means)
    assert row[2] == "538 (65)"


def test_results_without_a_description_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "castles-height.jsonl").write_text("")
    monkeypatch.setattr(content, "RESULTS", tmp_path)
    with pytest.raises(ValueError, match=r"castles-height.jsonl: describe the data set in .*sets\.py"):
        content.pages()


def test_a_data_set_that_has_only_begun_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "RESULTS", tmp_path)
    line = {"data": "gb1", "training": "vanilla", "role": "trial", "number": 0, "objective": 1.0}
    queue.add_result(line | {"overrides": ["+experiment=tabular", "data.letters=[variant]", "seed=100"]})
    page = Page("gb1", SETS["gb1"], (), None)
    text = text_of(page)
    assert "**Size**: no test run is committed yet." in text
    assert re.search(r"Not complete yet: 1 of \d+ results are there, 0 of them test runs\.", text)
    assert "'data.letters=[variant]' seed=100" in text
    assert overview([page]).rows[0][-1] == "not complete yet"


def test_the_command_writes_the_files_and_deletes_old_pages(
    found: list[Page], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "docs/results").mkdir(parents=True)
    (tmp_path / "docs/results/gone.md").write_text("old")
    block = f"<!-- {content.COMMAND} -->\nold\n<!-- end -->"
    (tmp_path / "docs/results.md").write_text(f"Before\n{block}\nAfter\n")
    (tmp_path / "mkdocs.yml").write_text(f"nav:\n  # {content.COMMAND}\n  # end\n  - Next: next.md\n")
    monkeypatch.setattr(files, "ROOT", tmp_path)
    monkeypatch.setattr(files, "pages", lambda: found[:2])
    files.write()
    assert {path.name for path in (tmp_path / "docs/results").iterdir()} == {"abalone.md", "concrete.md"}
    text = (tmp_path / "docs/results.md").read_text()
    assert text.startswith(f"Before\n<!-- {content.COMMAND} -->\n\n<div class=")
    assert text.endswith("<!-- end -->\nAfter\n")
    assert "\n| [Abalone](results/abalone.md) | age (rings) | 538 (65) |" in text
    assert "\nold\n" not in text
    menu = (tmp_path / "mkdocs.yml").read_text().splitlines()
    assert menu[2:5] == ["  - Abalone: results/abalone.md", "  - Concrete: results/concrete.md", "  # end"]
    (tmp_path / "mkdocs.yml").write_text("nav:\n")
    with pytest.raises(ValueError, match=r"mkdocs\.yml: expected one place for the results"):
        files.write()
