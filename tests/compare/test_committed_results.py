"""The committed results: each file can be read and is sorted, and the pages show the output of compare.py."""

from __future__ import annotations

import math
import re
import shlex
from pathlib import Path

import pytest

from dir.compare.cli import main
from dir.compare.overview import percent_change
from dir.compare.runs import METHOD_ORDER, find_runs, read_results, result_line
from dir.compare.statistics import compare

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
# Data sets of the table on the methods page, in its order.
MEASURED = ("rotmnist_skew-angle", "abalone-Rings", "concrete-ConcreteCompressiveStrength", "stsb_minilm")
FILES = sorted(RESULTS.glob("*.jsonl"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"<!-- python scripts/compare\.py (.+?) -->\n.*?<!-- end -->", re.DOTALL)
BLOCKS = [(page, block) for page in PAGES for block in BLOCK.finditer(page.read_text(encoding="utf-8"))]
# Result files that a page has a table of.
SHOWN = {
    Path(word).stem for _, block in BLOCKS for word in block[1].split() if word.startswith("benchmarks/results/")
}


SIX = ("vanilla", "sqinv", "lds", "fds", "lds_fds", "lds_fds_shrink")
# Controls: a claim about feature smoothing has to beat these methods.
CONTROLS = ("lds_label_shrink", "lds_prediction_shrink", "lds_affine", "lds_isotonic", "layer_norm", "c_mixup")
# Methods that the pages report at least, and the number of their seeds.
REPORTED = {
    "stsb_minilm": (("vanilla", "inv", "sqinv", "lds", "fds", "lds_fds"), 10),
    "age_synthetic": (SIX, 3),
    "rotmnist_skew-angle": ((*SIX, "fds_shrink", *CONTROLS), 10),
    "abalone-Rings": ((*SIX, "fds_shrink", *CONTROLS, "label_shrink", "prediction_shrink", "affine", "isotonic"), 10),
    "concrete-ConcreteCompressiveStrength": (("vanilla", "sqinv", "lds", "fds", "lds_fds", "lds_affine"), 10),
    "bike_sharing_hour-cnt": ((*SIX, "fds_shrink", *CONTROLS), 10),
    "bccd_counts-rbc": ((*SIX, "fds_shrink", *CONTROLS), 10),
}
# Published methods, each with a row in these tables.
FIELD = (
    *("inv", "denseweight", "vir", "focal_r", "huber", "bmc", "gai", "bni", "dist"),
    *("ranksim", "conr", "rnc", "ordinal_entropy", "srl", "rbc", "uvote", "rrt", "layer_norm", "c_mixup"),
    *("rnc_two_stage", "rrt_lds"),
)
OF_TABLES = ("random_under", "random_over", "gaussian_noise", "wercs", "smoter", "smogn", "bagging", "rebagg")
TABLES = {
    "stsb_minilm": FIELD,
    "rotmnist_skew-angle": FIELD,
    "abalone-Rings": (*FIELD, *OF_TABLES),
    "concrete-ConcreteCompressiveStrength": (*FIELD, *OF_TABLES),
}


@pytest.mark.parametrize("name", TABLES)
def test_every_published_method_has_a_row_over_five_seeds(name: str) -> None:
    runs, _ = find_runs(RESULTS / f"{name}.jsonl")
    for method in TABLES[name]:
        found = {run.seed for run in runs if run.method == method and not run.overrides}
        assert found >= set(range(5)), method


def test_every_published_method_was_run_on_the_faces() -> None:
    assert {run.method for run in find_runs(RESULTS / "age_synthetic.jsonl")[0]} >= set(FIELD)


@pytest.mark.parametrize("name", REPORTED)
def test_every_reported_experiment_is_committed_with_all_methods_and_seeds(name: str) -> None:
    methods, seeds = REPORTED[name]
    runs, _ = find_runs(RESULTS / f"{name}.jsonl")
    for method in methods:
        found = sorted(run.seed for run in runs if run.method == method and not run.overrides)
        assert found == list(range(seeds)), method
    assert name in SHOWN, "no page has a table of this data set"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_result_file_is_what_collect_would_write(file: Path) -> None:
    runs = read_results(file)
    assert file.read_text(encoding="utf-8") == "".join(map(result_line, runs))
    keys = [(run.method, run.suffix, run.seed) for run in runs]
    assert keys == sorted(set(keys))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_run_keeps_the_overrides_that_reproduce_it_and_no_path_of_a_machine(file: Path) -> None:
    for run in read_results(file):
        overrides = dict(override.lstrip("+").split("=", 1) for override in run.content["run"]["overrides"])
        assert overrides["method"] == run.method
        assert overrides["seed"] == str(run.seed)
        named = [part for part in run.suffix.split(",") if part]
        assert set(overrides) >= {part.split("=")[0] for part in named if "=" in part}
        # A long name ends in the hash of its other overrides.
        assert all("=" in part or re.fullmatch(r"[0-9a-f]{16}", part) for part in named)
        assert {(key, value) for key, value in overrides.items() if "/" in value} <= {("task.unit", "mm/h")}


def test_no_other_layout_is_left_in_the_results_folder() -> None:
    assert [path for path in RESULTS.iterdir() if path.is_dir()] == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_all_methods_of_a_seed_were_tested_on_the_same_rows(file: Path) -> None:
    runs = read_results(file)
    # Another seed may draw another split.
    groups = {(run.seed, group, values["n"]) for run in runs for group, values in run.metrics["test"].items()}
    assert len(groups) == len({(seed, group) for seed, group, _ in groups})


@pytest.mark.parametrize(("page", "block"), BLOCKS, ids=lambda part: part.name if isinstance(part, Path) else part[1])
def test_a_page_shows_what_compare_prints(
    page: Path, block: re.Match[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    main(shlex.split(block[1]))
    assert block[0] + "\n" == capsys.readouterr().out


def test_each_line_of_the_methods_page_ends_with_its_changes_of_the_few_shot_error() -> None:
    page = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    lines = page[page.index("## One line each") :].splitlines()
    compared = [compare(find_runs(RESULTS / f"{name}.jsonl")[0]) for name in MEASURED]

    def changes(method: str) -> str:
        shown = []
        for one in compared:
            rows = {row.label: row for row in one.rows}
            percent = percent_change(rows[method], rows["vanilla"], "mae", "few") if method in rows else math.nan
            shown.append(f"{percent:+.0f}" if math.isfinite(percent) else "-")
        return " / ".join(shown)

    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| `")]
    named = [re.findall(r"`(\w+)`", cells[0]) for cells in rows]
    for methods, cells in zip(named, rows, strict=True):
        assert cells[-1] == "; ".join("the baseline" if name == "vanilla" else changes(name) for name in methods)
    configs = {path.stem for path in (ROOT / "configs" / "method").glob("[!_]*.yaml")}
    on_lds = {
        name for name in configs if name.removeprefix("lds_") in {*configs, "affine"} and name.startswith("lds_")
    }
    assert {name for names in named for name in names} >= configs - on_lds, "the page has no line for a method"


def test_every_method_has_a_place_in_the_tables() -> None:
    configs = {path.stem for path in (ROOT / "configs" / "method").glob("[!_]*.yaml")}
    assert sorted(METHOD_ORDER) == sorted(configs)
