"""Overrides that all runs share: named once under the table, not in each row."""

from __future__ import annotations

import json
from pathlib import Path

from dir.compare.report import readme_tables
from dir.compare.runs import collect, find_runs, read_results
from dir.compare.statistics import as_json, compare


def write(folder: Path, method: str, seed: str, mse: float) -> None:
    path = folder / method / f"seed_{seed}" / "metrics.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"test": {"all": {"n": 9, "mse": mse}}}))


def test_rows_name_the_overrides_that_differ(tmp_path: Path) -> None:
    folder = tmp_path / "cells"
    for seed in (0, 1):
        write(folder, "vanilla", f"{seed},data.batch_size=16,task.shots.few=6", 1.0 + seed)
        write(folder, "power", f"{seed},data.batch_size=16,method.power=0.25,task.shots.few=6", 0.5 + seed)
        write(folder, "power", f"{seed},data.batch_size=16,method.power=0.75,task.shots.few=6", 0.7 + seed)
    runs, _ = find_runs(folder)
    found = compare(runs)
    assert [row.label for row in found.rows] == ["vanilla", "power method.power=0.25", "power method.power=0.75"]
    assert [row.against for row in found.rows] == [None, "vanilla", "vanilla"]
    assert "All runs: data.batch_size=16, task.shots.few=6." in readme_tables(found, "mse")
    assert json.loads(as_json(found))["overrides"] == ["data.batch_size=16", "task.shots.few=6"]
    # A collected run keeps its whole suffix, because the common overrides depend on the runs that are compared.
    collect(runs, tmp_path / "cells.jsonl")
    suffixes = sorted(run.suffix for run in read_results(tmp_path / "cells.jsonl"))
    assert suffixes[0] == "data.batch_size=16,method.power=0.25,task.shots.few=6"


def test_an_override_that_one_run_lacks_is_not_common(tmp_path: Path) -> None:
    folder = tmp_path / "cells"
    write(folder, "vanilla", "0", 1.0)
    write(folder, "lds", "0,optimizer.lr=0.1", 1.0)
    write(folder, "lds", "1,optimizer.lr=0.1", 1.0)
    runs, _ = find_runs(folder)
    assert sorted({run.label for run in runs}) == ["lds optimizer.lr=0.1", "vanilla"]
    assert "All runs" not in readme_tables(compare(runs), "mse")


def test_a_baseline_may_be_named_in_full_and_titles_name_the_common_overrides(tmp_path: Path) -> None:
    folder = tmp_path / "cells"
    for method in ("vanilla", "lds"):
        write(folder, method, "0,trainer.max_epochs=1", 1.0)
    found = compare(find_runs(folder)[0], baseline="vanilla trainer.max_epochs=1")
    assert (found.baseline, found.title) == ("vanilla", "cells (trainer.max_epochs=1)")
