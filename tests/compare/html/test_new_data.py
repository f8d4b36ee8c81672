"""New rows in a report: what dir-monitor wrote is shown, and files that are no such report are refused."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest

from dir.compare.html.cli import main
from dir.compare.html.new_data import new_data_part
from dir.compare.runs import Run


def cells(page: str, first: str) -> list[list[str]]:
    """Return the rows of the tables that start with a text."""
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)]
    return [row for row in rows if row and row[0] == first]


@pytest.fixture(scope="module")
def reports(full_page: Path) -> list[dict[str, Any]]:
    return [json.loads((full_page.parent / f"{number}.json").read_text()) for number in (0, 1)]


@pytest.fixture(scope="module")
def parts(full_page: Path) -> list[str]:
    """Return the parts of the page on each report, with texts as a reader sees them."""
    text = html.unescape(full_page.read_text())
    return [part.partition("<h3>The runs")[0] for part in text.split("<h3>New data: june.csv</h3>")[1:]]


def test_each_report_stands_in_the_section_of_its_run(full_page: Path, parts: list[str]) -> None:
    text = full_page.read_text()
    assert len(parts) == 2
    assert text.index("New data: june.csv") < text.index('<section id="section-2"') < text.rindex("</main>")
    assert text.count("New data: june.csv") == text[: text.index('<section id="section-2"')].count("New data:")
    assert "400 new rows beside those of lds, seed 0" in parts[0]


def test_the_numbers_are_those_of_the_reports(parts: list[str], reports: list[dict[str, Any]]) -> None:
    (few,) = [row for row in cells(parts[0], "few") if len(row) == 8]
    error, share = reports[0]["realised_error"]["few"], reports[0]["predictions"]["groups"]["few"]
    assert few[1:6] == [
        f"{100 * share['reference']:.1f} %",
        f"{100 * share['new']:.1f} %",
        str(error["rows"]),
        f"{error['reference']:.4g}",
        f"{error['mae']:.4g}",
    ]
    assert few[7] == "not larger"
    (size,) = cells(parts[0], "size")
    assert size[1] == f"{reports[0]['inputs'][0]['psi']:.3f}"
    assert size[5] == "density, distribution"
    assert "Drift: the new rows do not look like those of the training." in parts[0]
    assert "Expected error (kEUR), without labels: " in parts[0]


def test_without_labels_the_page_says_so(parts: list[str], reports: list[dict[str, Any]]) -> None:
    assert reports[1]["realised_error"] is None
    (few,) = [row for row in cells(parts[1], "few") if len(row) == 8]
    assert few[3:] == ["-", "-", "-", "-", "no labels"]
    assert "The new rows have no labels." in parts[1]
    share = reports[1]["predictions"]["density"]["above"]
    assert share > 0
    assert f"{100 * share:.1f} % above the range" in re.sub(r"<[^>]*>", "", parts[1])


def test_a_larger_error_without_labels_is_an_expectation(reports: list[dict[str, Any]]) -> None:
    run = Run("x", "houses", "lds", "", 0, {})
    for report, verdict in (
        (reports[0], "Larger error: the model is worse"),
        (reports[1], "Larger error: without labels, the model is expected to be worse"),
    ):
        assert new_data_part(run, report | {"status": 4}, "new0")["verdict"].startswith(verdict)


def test_the_densities_are_shares_of_all_rows(reports: list[dict[str, Any]]) -> None:
    for density in (reports[0]["predictions"]["density"], reports[0]["labels"]["density"]):
        assert len(density["edges"]) == len(density["new"]) + 1 == len(density["reference"]) + 1
        assert sum(density["new"]) + density["below"] + density["above"] == pytest.approx(1)
        assert sum(density["reference"]) == pytest.approx(1)


def changed(report: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return a copy of a report with another value at a path such as "labels.psi"."""
    copy = json.loads(json.dumps(report))
    *parents, last = path.split(".")
    at = copy
    for name in parents:
        at = at[name]
    at[last] = value
    return copy


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ("model_sha256", "0" * 64, "is about the model of .*lds/seed_0, which is none of the runs of this report"),
        ("status", 1, r"status: expected 0, 3 or 4, got 1\..*dir-monitor --json FILE of this release"),
        ("predictions.density", None, "predictions.density: expected an object"),
        ("predictions.density.new", [1.0], r"density.new: expected \d+ numbers, got 1"),
        ("labels.psi", "large", "labels.psi: expected a finite number"),
        ("inputs", {}, "inputs: expected a list of objects"),
        ("inputs", [{"column": "a"}], r"inputs\[0\].drift: expected a list of texts"),
        ("expected_error.low", None, "expected_error.low: expected a finite number"),
        ("realised_error.few.rows", 0.5, "realised_error.few.rows: expected an integer"),
        ("realised_error", {}, "realised_error.all: expected an object"),
    ],
)
def test_reports_of_another_form_or_model_are_refused(
    full_page: Path,
    reports: list[dict[str, Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    path: str,
    value: object,
    problem: str,
) -> None:
    (tmp_path / "new.json").write_text(json.dumps(changed(reports[0], path, value)))
    refused(full_page, tmp_path, capsys, problem)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"{", "the file cannot be read as JSON"),
        (b"\xff\xfe", "the file cannot be read as JSON"),
        (b"[NaN]", "NaN is not a number of JSON"),
        (b"[" * 100_000, "the file cannot be read as JSON"),
        (b'{"test": {}}', "not a report of dir-monitor"),
        (None, "no such file"),
    ],
)
def test_files_that_are_no_report_are_refused(
    full_page: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, problem: str
) -> None:
    if content is not None:
        (tmp_path / "new.json").write_bytes(content)
    refused(full_page, tmp_path, capsys, problem)


def refused(full_page: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], problem: str) -> None:
    out = tmp_path / "out" / "report.html"
    runs = str(full_page.parent / "houses/houses")
    with pytest.raises(SystemExit):
        main([runs, "--monitor", str(tmp_path / "new.json"), "--out", str(out)])
    assert re.search(problem, " ".join(capsys.readouterr().err.split()))
    assert not out.parent.exists()
