"""Trade-off curves from saved log-probabilities: numbers against NumPy, the command line, and the picture."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from dir.compare.tradeoff import curves, read_saved
from dir.compare.tradeoff_cli import main, parse_powers

EDGES = np.linspace(0.0, 10.0, 21)
DENSITY = np.exp(-np.linspace(0.0, 3.0, 20))
SHOTS = np.array(["many"] * 30 + ["median"] * 10 + ["few"] * 10)


def write_run(
    folder: Path, method: str, seed: int, power: float = 0.5, point: str = "mean", temperature: float = 1.0
) -> Path:
    """A finished run whose predictions are those of its own power."""
    path = folder / "toy" / method / f"seed_{seed}"
    path.mkdir(parents=True)
    random = np.random.default_rng(seed)
    arrays = {
        "cell_edges": EDGES,
        "cell_log_density": np.log(DENSITY / DENSITY.sum()),
        "power": np.asarray(power),
        "temperature": np.asarray(temperature),
        "point": np.asarray(point),
    }
    for prefix in ("", "val_"):
        label = np.sort(random.exponential(2.0, 50)).clip(max=10)
        logits = -((label[:, None] + random.normal(0, 1, (50, 1)) - (EDGES[1:] + EDGES[:-1]) / 2) ** 2)
        arrays |= {
            f"{prefix}label": label.astype(np.float32),
            f"{prefix}bin": label.astype(np.int64),
            f"{prefix}shot": SHOTS,
            f"{prefix}log_mass": (logits - logits.max(axis=1, keepdims=True)).astype(np.float16),
        }
    if method == "vanilla":
        arrays = {name: value for name, value in arrays.items() if "cell" not in name and "log_mass" not in name}
    np.savez_compressed(path / "predictions.npz", **arrays)
    group = {"n": 50, "mae": 1.0 + 0.1 * seed, "mse": 2.0}
    groups = {"all": group, "many": group, "few": {**group, "mae": 3.0 + seed}}
    content = {"val": groups, "test": groups, "run": {"overrides": []}}
    (path / "metrics.json").write_text(json.dumps(content), encoding="utf-8")
    return path


def expected_errors(run: Path, power: float, rows: np.ndarray) -> tuple[float, float]:
    """MAE and MSE of some test rows by NumPy: Bayes' rule, then the mean or the median."""
    with np.load(run / "predictions.npz") as arrays:
        logits = arrays["log_mass"].astype(np.float64) / arrays["temperature"] - power * arrays["cell_log_density"]
        label, median = arrays["label"].astype(np.float64), str(arrays["point"]) == "median"
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    if median:
        prediction = np.array([np.interp(0.5, np.concatenate([[0], np.cumsum(row)]), EDGES) for row in p])
    else:
        prediction = p @ ((EDGES[1:] + EDGES[:-1]) / 2)
    error = (prediction - label)[rows]
    return float(np.abs(error).mean()), float((error**2).mean())


@pytest.mark.parametrize(("point", "temperature"), [("mean", 1.0), ("median", 1.0), ("mean", 1.7)])
def test_errors_at_each_power_are_those_of_bayes_rule(tmp_path: Path, point: str, temperature: float) -> None:
    run = write_run(tmp_path, "histogram_prior", 0, point=point, temperature=temperature)
    saved = read_saved(run)
    for power in (0.0, 0.4, 1.0):
        for group in ("many", "few"):
            mae, mse = expected_errors(run, power, group == SHOTS)
            found = saved.errors("test", power)[group]
            assert found["mae"] == pytest.approx(mae, rel=1e-5)
            assert found["mse"] == pytest.approx(mse, rel=1e-5)
            assert found["n"] == (group == SHOTS).sum()


def test_a_curve_has_mean_and_spread_over_seeds_and_the_kept_powers(tmp_path: Path) -> None:
    runs = [write_run(tmp_path, "histogram_prior", seed, power=0.2 * (seed + 1)) for seed in (1, 0, 2)]
    (curve,) = curves([read_saved(run) for run in runs], "test", [1.0, 0.0])
    assert (curve.seeds, curve.powers) == ((0, 1, 2), (0.0, 1.0))
    assert curve.kept_powers == (0.2, 0.4, 0.6)
    values = [expected_errors(run, 1.0, SHOTS == "few")[0] for run in runs]
    over = curve.values[1.0]["few", "mae"]
    assert (over.mean, over.sd) == (pytest.approx(np.mean(values)), pytest.approx(np.std(values, ddof=1)))
    kept = [expected_errors(run, power, SHOTS == "few")[0] for run, power in zip(runs, (0.4, 0.2, 0.6), strict=True)]
    assert curve.kept["few", "mae"].mean == pytest.approx(np.mean(kept))


def test_the_command_writes_tables_and_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (0, 1):
        write_run(tmp_path, "histogram_prior", seed)
        write_run(tmp_path / "other", "vanilla", seed)
    files = [f"{name}={tmp_path / f'out.{suffix}'}" for name, suffix in (("csv", "csv"), ("json", "json"))]
    runs = f"runs=[{tmp_path}/toy/histogram_prior/seed_0,{tmp_path}/toy/histogram_prior/seed_1]"
    for suffix in ("png", "svg"):
        main([runs, "power=0,0.5,1", *files, f"figure={tmp_path}/out.{suffix}", f"points=[{tmp_path}/other/toy]"])
    shown = capsys.readouterr().out
    assert "histogram_prior, test: mae" in shown
    assert "kept: 0.5" in shown
    with (tmp_path / "out.csv").open(encoding="utf-8") as stream:
        table = list(csv.DictReader(stream))
    content = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert len(table) == len(content)
    mine = [row for row in content if (row["split"], row["power"], row["group"], row["metric"], row["kept"]) ==
            ("test", 1.0, "few", "mae", False)]  # fmt: skip
    mae = np.mean([expected_errors(tmp_path / f"toy/histogram_prior/seed_{seed}", 1.0, SHOTS == "few")[0]
                   for seed in (0, 1)])  # fmt: skip
    assert [row["mean"] for row in mine] == [pytest.approx(mae, rel=1e-5)]
    assert (tmp_path / "out.png").read_bytes()[:4] == b"\x89PNG"
    assert "<svg" in (tmp_path / "out.svg").read_text(encoding="utf-8")


def test_a_run_with_a_cost_says_that_the_curve_is_not_of_its_decisions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path, "histogram_prior", 0, point="median")
    main([f"runs={run}", "power=0.5"])
    assert "decisions" not in capsys.readouterr().out
    content = json.loads((run / "metrics.json").read_text())
    content["run"]["cost"] = {"_target_": "dir.costs.LinearCost", "under": 5.0, "over": 1.0}
    (run / "metrics.json").write_text(json.dumps(content))
    main([f"runs={run}", "power=0.5", f"figure={tmp_path}/out.svg"])
    shown = " ".join(capsys.readouterr().out.split())
    remark = "The runs predict decisions under a cost. These are the errors of the median in their place."
    assert shown.count(remark) == 2  # below the tables of val and test
    svg = (tmp_path / "out.svg").read_text(encoding="utf-8")
    assert f"<!-- {remark} -->" in svg


@pytest.mark.parametrize(
    ("argument", "problem"),
    [
        ("power=0,half", "power.*'half'"),
        ("power=0,...,1", r"power.*'0,\.\.\.,1'"),
        ("power=-1", "power.*'-1'"),
        ("metric=rmse", "metric.*'rmse'"),
        ("split=train", "split.*'train'"),
        ("groups=[many]", r"groups.*'\[many\]'"),
        ("groups=[many,zero]", "groups.*toy|groups.*'zero'"),
        ("figure=out.gif", r"figure.*out\.gif"),
        ("points=x", "points.*figure"),
        ("methods=x", "methods.*points"),
        ("powers=1", "powers: no such argument.*power"),
    ],
)
def test_wrong_arguments_are_named(tmp_path: Path, argument: str, problem: str) -> None:
    run = write_run(tmp_path, "histogram_prior", 0)
    more = [f"figure={tmp_path}/out.png"] if argument.startswith("groups") else []
    with pytest.raises(SystemExit, match=problem):
        main([f"runs={run}", *more, argument])


def test_runs_without_log_probabilities_and_mixed_runs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="method vanilla saved no log-probabilities"):
        main([f"runs={write_run(tmp_path, 'vanilla', 0)}"])
    first = read_saved(write_run(tmp_path, "histogram_prior", 0))
    with pytest.raises(ValueError, match=r"runs.*same seed twice.*\[0, 0\]"):
        curves([first, first], "test", [0.0])
    with pytest.raises(ValueError, match="no finished run"):
        read_saved(tmp_path)


def test_powers_are_read_with_and_without_dots() -> None:
    assert parse_powers("[0,0.1,...,1]") == [round(0.1 * step, 10) for step in range(11)]
    assert parse_powers("0.3") == [0.3]
