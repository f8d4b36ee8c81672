"""Run folders and result files: finding, reading, collecting, and the errors that name what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dir.compare.report import markdown
from dir.compare.runs import collect, find_runs, identify, read_results, read_run
from dir.compare.statistics import as_json, compare

Content = Callable[..., dict[str, Any]]
WriteRun = Callable[..., Path]


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("outputs/x/lds/seed_3/metrics.json", ("x", "lds", "", 3)),
        ("outputs/x/lds/seed_12,lds.sigma=1.0/metrics.json", ("x", "lds", "lds.sigma=1.0", 12)),
        ("outputs/x/lds/metrics.json", None),
        ("outputs/x/lds/seed_1backup/metrics.json", None),
        ("outputs/x/lds/seed_1.json", None),
        ("seed_1/metrics.json", None),
    ],
)
def test_identify(path: str, key: tuple[str, str, str, int] | None) -> None:
    assert identify(Path(path)) == key


MALFORMED = [
    ("{", "expected json"),
    ("[]", "has no split"),
    ('{"run": {}}', "has no split"),
    ('{"test": {"few": {"n": 1}}}', "split 'test' has no group 'all'"),
    ('{"test": {"all": {"mse": 1.0}}}', "test/all has no integer 'n'"),
    ('{"test": {"all": {"n": 1, "mse": "0.6"}}}', "test/all/mse: .*got '0.6'"),
]


@pytest.mark.parametrize(("text", "message"), MALFORMED)
def test_a_malformed_metrics_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x" / "lds" / "seed_0" / "metrics.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        read_run(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "expected json"),
        ("", "expected json"),
        ("[1]", 'expected {"method"'),
        ('{"method": "lds", "seed": "0", "suffix": "", "metrics": {}}', 'expected {"method"'),
        *(
            (f'{{"method": "lds", "seed": 9, "suffix": "", "metrics": {text}}}', message)
            for text, message in MALFORMED[2:]
        ),
    ],
)
def test_a_malformed_line_of_a_result_file_is_named(outputs: Path, tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "stsb_minilm.jsonl"
    collect(find_runs(outputs)[0], path)
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(ValueError, match=message) as error:
        read_results(path)
    assert f"{path}:10:" in str(error.value)


def test_a_result_file_with_one_run_twice_or_none_is_refused(outputs: Path, tmp_path: Path) -> None:
    path = tmp_path / "stsb_minilm.jsonl"
    collect(find_runs(outputs)[0], path)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines, lines[0]]))
    with pytest.raises(ValueError, match=r"jsonl:10: .*twice, first in .*jsonl:1"):
        find_runs(path)
    path.write_text("")
    with pytest.raises(ValueError, match="has no run"):
        find_runs(path)


def test_folders_without_one_comparable_experiment_are_refused(
    tmp_path: Path, outputs: Path, write_run: WriteRun, content: Content
) -> None:
    with pytest.raises(ValueError, match="absent: not found"):
        find_runs(tmp_path / "absent")
    (tmp_path / "empty" / "lds" / "seed_0").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"empty: no finished run \(1 unfinished run folders\)"):
        find_runs(tmp_path / "empty")
    (tmp_path / "empty" / "agedb.jsonl").write_text("")
    with pytest.raises(ValueError, match=r"no finished run.*agedb\.jsonl"):
        find_runs(tmp_path / "empty")
    write_run(tmp_path / "agedb", "lds", 0, content(0.6))
    with pytest.raises(ValueError, match="one experiment, found agedb, stsb_minilm"):
        find_runs(tmp_path)
    write_run(outputs / "copy" / "stsb_minilm", "lds", 0, content(0.6))
    with pytest.raises(ValueError, match="the same run twice"):
        find_runs(outputs)


def test_unfinished_runs_are_mentioned(outputs: Path) -> None:
    (outputs / "huber" / "seed_4" / "checkpoints").mkdir(parents=True)
    runs, unfinished = find_runs(outputs)
    assert len(runs) == 9
    assert unfinished == [Path("huber/seed_4")]
    assert "unfinished (no metrics.json): huber/seed_4" in markdown(compare(runs, unfinished=unfinished))


def test_collected_runs_read_as_the_originals_and_are_not_overwritten(
    outputs: Path, tmp_path: Path, write_run: WriteRun, content: Content
) -> None:
    write_run(outputs, "lds", "7,lds.sigma=1.0", content(0.5))
    target = tmp_path / "results" / "stsb_minilm.jsonl"
    runs, _ = find_runs(outputs)
    assert len(collect(runs, target)) == 10
    entries = [json.loads(line) for line in target.read_text().splitlines()]
    assert entries[4]["metrics"] == json.loads((outputs / "lds/seed_1/metrics.json").read_text())
    keys = [(entry["method"], entry["suffix"], entry["seed"]) for entry in entries]
    assert keys == sorted(keys)
    assert as_json(compare(find_runs(target)[0])) == as_json(compare(runs))
    assert collect(runs, target) == []
    assert collect(find_runs(target)[0], target) == []

    write_run(outputs, "lds", 1, content(0.4))
    write_run(outputs, "sqinv", 0, content(0.4))
    runs, _ = find_runs(outputs)
    before = target.read_bytes()
    with pytest.raises(ValueError, match=r"lds/seed_1\b.*--force"):
        collect(runs, target)
    assert target.read_bytes() == before
    assert {run.method for run in collect(runs, target, force=True)} == {"lds", "sqinv"}
    values = {(run.method, run.seed): run.metrics["test"]["all"]["mse"] for run in read_results(target)}
    assert values["lds", 1] == values["sqinv", 0] == 0.4
    assert values["lds", 0] == 0.58
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_runs_of_another_experiment_are_not_collected(outputs: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--collect: .*stsb_minilm\.jsonl, got .*agedb\.jsonl"):
        collect(find_runs(outputs)[0], tmp_path / "agedb.jsonl")
    assert not (tmp_path / "agedb.jsonl").exists()


def test_collected_overrides_hold_file_names_instead_of_paths(
    tmp_path: Path, write_run: WriteRun, content: Content
) -> None:
    metrics = content(0.5)
    metrics["run"]["overrides"] = ["+experiment=tabular", "data.path=/home/me/abalone.csv", "data.glove=a/b.txt"]
    write_run(tmp_path / "abalone", "lds", 0, metrics)
    collect(find_runs(tmp_path / "abalone")[0], tmp_path / "abalone.jsonl")
    (run,) = read_results(tmp_path / "abalone.jsonl")
    assert run.content["run"]["overrides"] == ["+experiment=tabular", "data.path=abalone.csv", "data.glove=b.txt"]
    assert run.content["test"] == metrics["test"]
