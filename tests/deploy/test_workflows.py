"""The workflows name files and extras that exist, and between them test what CONTRIBUTING.md says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".github/workflows"
# YAML reads the key `on` as true.
WORKFLOWS: dict[str, dict[Any, Any]] = {
    path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.yml"))
}


def commands(workflow: str, job: str) -> str:
    return "\n".join(step.get("run", "") for step in WORKFLOWS[workflow]["jobs"][job]["steps"])


JOBS = [(workflow, job) for workflow, parts in WORKFLOWS.items() for job in parts["jobs"]]


@pytest.mark.parametrize(("workflow", "job"), JOBS)
def test_a_job_ends_and_names_files_and_extras_that_exist(workflow: str, job: str) -> None:
    assert WORKFLOWS[workflow]["jobs"][job]["timeout-minutes"] <= 60
    text = commands(workflow, job)
    for name in re.findall(r"(?:bash|python) ((?:[\w.]+/)*[\w.]+(?:\.py|/run))", text):
        assert (ROOT / name).is_file(), name
    for module in re.findall(r"python -m (benchmarks[\w.]*)", text):
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").is_file(), module
    for pattern in re.findall(r"docs/\S+", text):
        assert list(ROOT.glob(pattern)), pattern
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for extras in re.findall(r"\[([a-z,]+)\]\"", text):
        for extra in extras.split(","):
            assert re.search(rf"^{extra} = \[", project, flags=re.MULTILINE), extra


def test_each_night_the_latest_versions_and_the_examples_run_in_full() -> None:
    jobs = WORKFLOWS["ci"]["jobs"]
    nightly = {name for name, job in jobs.items() if job["if"] == "github.event_name == 'schedule'"}
    assert nightly == {"latest", "examples"}
    assert "--upgrade --pre" in commands("ci", "latest")
    assert "pytest" in commands("ci", "latest")
    examples = commands("ci", "examples")
    assert {f"python examples/{path.name}" for path in (ROOT / "examples").glob("*.py")} <= set(examples.splitlines())
    assert "docs/tutorials/*.md docs/tutorials/*.ipynb --check" in examples


def test_each_push_runs_the_whole_check_the_lowest_versions_and_the_wheel() -> None:
    assert {"push", "pull_request", "schedule"} == set(WORKFLOWS["ci"][True])
    pushed = {name for name, job in WORKFLOWS["ci"]["jobs"].items() if "!=" in job["if"]}
    assert pushed == {"check", "lowest", "wheel"}
    assert "bash .ci/run" in commands("ci", "check")
    assert "benchmarks/lowest_versions.py" in commands("ci", "lowest")


def test_only_a_tag_publishes_documentation() -> None:
    # Not "v*": a release candidate would become the latest version.
    assert WORKFLOWS["docs"][True] == {"push": {"tags": ["v[0-9]+.[0-9]+.[0-9]+"]}}
    assert WORKFLOWS["ci"]["permissions"] == {"contents": "read"}
    assert "mike deploy --push" in commands("docs", "deploy")
    site = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert re.search(r"^extra:\n  version:\n    provider: mike\b", site, flags=re.MULTILINE)


def test_strict_sees_the_warnings_of_the_site() -> None:
    # mkdocs --quiet silences the warnings that --strict counts.
    for text in ((ROOT / ".ci/run").read_text(encoding="utf-8"), commands("docs", "deploy")):
        lines = [line for line in text.splitlines() if re.search(r"(^| )mkdocs build", line)]
        assert len(lines) == 1
        assert "--strict" in lines[0]
        assert "--quiet" not in lines[0]
