"""benchmarks/reproduce.py: a run made again is equal, and a changed number is noticed."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import reproduce
from dir.compare.runs import Run


def metrics(mae: float | None, **more: float) -> dict[str, Any]:
    return {"run": {"seconds": mae}, "test": {"all": {"n": 4, "mae": mae, **more}}}


def test_differences_are_relative_above_one_and_infinite_for_a_missing_number() -> None:
    def difference(old: dict[str, Any], new: dict[str, Any]) -> float:
        return {metric: value for metric, _, value in reproduce.differences(old, new)}["mae"]

    assert difference(metrics(100.0), metrics(101.0)) == pytest.approx(0.01)
    assert difference(metrics(0.5), metrics(0.6)) == pytest.approx(0.1)
    assert difference(metrics(None), metrics(None)) == 0
    assert math.isinf(difference(metrics(1.0), metrics(None)))
    assert math.isinf(difference(metrics(None), metrics(1.0)))
    assert math.isinf(difference(metrics(1.0), {"val": {}}))
    assert difference(metrics(1.0), metrics(1.0, gm=3.0)) == 0


def test_paths_are_found_by_name_at_any_depth(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "x.csv").touch()
    found = reproduce.with_paths(["+experiment=tabular", "data.path=x.csv", "seed=1"], tmp_path)
    assert found == ["+experiment=tabular", f"data.path={tmp_path / 'a' / 'b' / 'x.csv'}", "seed=1"]
    with pytest.raises(ValueError, match=r"data\.path: found 0 files .*got 'y\.csv'"):
        reproduce.with_paths(["data.path=y.csv"], tmp_path)
    (tmp_path / "x.csv").touch()
    with pytest.raises(ValueError, match=r"data\.path: found 2 files"):
        reproduce.with_paths(["data.path=x.csv"], tmp_path)


@pytest.mark.slow
def test_a_run_made_again_is_equal_and_a_changed_number_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 2))
    y = np.exp(x[:, 0]) + 0.1 * x[:, 1]
    rows = "\n".join(f"{a:.6f},{b:.6f},{t:.6f}" for (a, b), t in zip(x, y, strict=True))
    (tmp_path / "table.csv").write_text(f"a,b,y\n{rows}\n")
    settings = ["+experiment=tabular", "data.path=table.csv", "data.target=y", "method=vanilla", "seed=0"]
    overrides = [*settings, "trainer.max_epochs=2"]
    first = reproduce.run_again(
        Run("x", "table-y", "vanilla", "", 0, {}, {"run": {"overrides": overrides}}), tmp_path
    )
    content = {**first, "run": {**first["run"], "overrides": overrides}}
    line = {"method": "vanilla", "seed": 0, "suffix": "trainer.max_epochs=2", "metrics": content}
    (tmp_path / "table-y.jsonl").write_text(json.dumps(line) + "\n")
    arguments = [str(tmp_path / "table-y.jsonl"), "--data", str(tmp_path)]
    assert reproduce.main(arguments) == 0
    assert "seed 0: equal" in capsys.readouterr().out

    changed = json.loads(json.dumps(first))
    changed["test"]["few"]["gm"] = (changed["test"]["few"]["gm"] or 0.0) + 0.001
    monkeypatch.setattr(reproduce, "run_again", lambda run, data: changed)
    assert reproduce.main(arguments) == 1
    assert "(gm of test/few)" in capsys.readouterr().out


def test_runs_without_overrides_and_seeds_without_a_run_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = {"method": "vanilla", "seed": 0, "suffix": "", "metrics": metrics(1.0)}
    (tmp_path / "x.jsonl").write_text(json.dumps(line) + "\n")
    assert reproduce.main([str(tmp_path / "x.jsonl"), "--data", str(tmp_path)]) == 1
    assert "x.jsonl:1: has no overrides" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        reproduce.main([str(tmp_path / "x.jsonl"), "--seeds", "7"])
    assert "--seeds: x.jsonl has no run of these seeds, got [7]" in capsys.readouterr().err
