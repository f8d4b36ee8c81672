"""Tests that README.md shows code that runs and a table that a run prints."""

import math
import re
from pathlib import Path

import pytest
import torch

from dir.compare.runs import find_runs
from dir.metrics import METRICS
from dir.recipe.summary import Groups, print_summary

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"


def test_the_python_block_of_the_readme_trains_in_a_plain_loop():
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) == 1
    torch.manual_seed(0)
    names: dict = {}
    exec(compile(blocks[0], "README.md", "exec"), names)
    fds, lds, bins = names["fds"], names["lds"], names["bins"]
    # end_epoch() ran three times, and the tables of FDS are no longer the identity.
    assert fds.epoch.item() == 3
    assert not torch.equal(fds.scale[:-1], torch.ones_like(fds.scale[:-1]))
    rare, frequent = lds(torch.tensor([75.0, 35.0]))
    assert rare > 3 * frequent
    assert torch.isfinite(names["loss"])
    assert bins.num_bins == 121


def test_the_python_block_on_costs_decides() -> None:
    text = (ROOT / "docs" / "costs.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    torch.manual_seed(0)
    names: dict = {}
    exec(compile(block, "docs/costs.md", "exec"), names)
    assert (names["missing_costs_more"] > names["median"]).all()
    # With a useful label above 80, every prediction below 77 has no utility at all.
    assert (names["find_peaks"] > 77).all()
    assert (names["risk"] > 0).all()


def test_the_printed_table_of_the_readme_is_that_of_the_committed_run(capsys: pytest.CaptureFixture[str]):
    runs, _ = find_runs(ROOT / "benchmarks" / "results" / "age_synthetic.jsonl")
    (run,) = (run for run in runs if run.method == "vanilla" and run.seed == 0 and not run.overrides)
    groups: Groups = {
        group: {
            name: int(values[name]) if name == "n" else values[name] if math.isfinite(values[name]) else None
            for name in ("n", *METRICS)  # the order in which a run prints
        }
        for group, values in run.metrics["test"].items()
    }
    print_summary({"test": groups}, "years")
    printed = "\n".join(line.rstrip() for line in capsys.readouterr().out.strip().splitlines())
    (block,) = re.findall(r"```\n(test .*?)\n```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert block == printed


def test_the_readme_stays_short():
    assert len(README.read_text(encoding="utf-8").splitlines()) < 120


def test_every_relative_link_of_the_pages_has_a_target():
    for page in [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        # `mkdocs build` makes the pages under reference/, and checks the links to them.
        written = [link for link in links if not link.startswith("reference/")]
        assert [link for link in written if not (page.parent / link).exists()] == [], page.name
