"""Trains members on a table and compares ensembles of four members, each on the same rows.

python -m benchmarks.ensembles abalone.csv Rings --out benchmarks/results/ensembles_abalone.json
python -m benchmarks.ensembles --show benchmarks/results/ensembles_abalone.json

Deep ensembles are means of networks: over seeds, over the power of the LDS weights, and over plain and reweighted
networks. The greedy selection takes up to four of all eleven networks on the validation split. UVOTE has four
experts, bagging and REBAGG have four regressors. Each seed of the table is a split of the rows.
"""

from __future__ import annotations

import contextlib
import io
import json
import platform
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir

from benchmarks.audit import parse, parser_of
from dir._atomic import write_atomic
from dir.compare.ensemble import errors, read_members, select_greedily
from dir.recipe.cli import config_dir
from dir.recipe.run_folder import RunFolder
from dir.recipe.run_info import commit
from dir.recipe.schema import register_configs
from dir.recipe.train import train

MEMBERS = 4
POWERS = (1 / 3, 2 / 3, 1.0)  # the power 0 is vanilla
GROUPS = ("all", "many", "median", "few")


def _lds(power: float) -> str:
    return f"method.lds.reweight={{_target_: torch.pow, _partial_: true, exponent: {power}}}"


def settings() -> dict[str, list[str]]:
    """Return the overrides of each run by name: networks, and ensembles that one run trains."""
    found = {f"vanilla {seed}": ["method=vanilla", f"seed={seed}"] for seed in range(MEMBERS)}
    found |= {f"lds {seed}": ["method=lds", f"seed={seed}"] for seed in range(MEMBERS)}
    found |= {f"power {power:.2f}": ["method=lds", _lds(power), f"seed={n}"] for n, power in enumerate(POWERS, 1)}
    found["uvote"] = ["method=uvote", f"method.head.num_experts={MEMBERS}", "seed=0"]
    for name in ("bagging", "rebagg"):
        found[name] = [f"method={name}", f"method.ensemble.n_estimators={MEMBERS}", "seed=0"]
    return found


def ensembles() -> dict[str, list[str]]:
    """Return the members of each ensemble whose members are chosen beforehand."""
    seeds = range(MEMBERS)
    return {
        "vanilla over 4 seeds": [f"vanilla {seed}" for seed in seeds],
        "lds over 4 seeds": [f"lds {seed}" for seed in seeds],
        "LDS powers 0, 1/3, 2/3, 1": ["vanilla 0", *(f"power {power:.2f}" for power in POWERS)],
        "2 vanilla and 2 lds": ["vanilla 0", "vanilla 1", "lds 2", "lds 3"],
        "uvote, 4 experts": ["uvote"],
        "bagging, 4 trees": ["bagging"],
        "rebagg, 4 trees": ["rebagg"],
    }


def measure(file: Path, target: str, split: int, folder: Path) -> list[dict[str, Any]]:
    """Return the errors of each ensemble on val and test of one split."""
    runs = settings()
    for number, overrides in enumerate(runs.values()):
        fixed = ["+experiment=tabular", f"data.path={file}", f"data.target={target}", f"data.seed={split}"]
        with initialize_config_dir(config_dir(), version_base="1.3"):
            cfg = compose("train", [*fixed, "logger=none", "trainer.accelerator=cpu", *overrides])
        with contextlib.redirect_stdout(io.StringIO()):
            train(cfg, RunFolder(folder / str(number)), {"method": overrides[0]})
    splits = read_members([folder / str(number) for number in range(len(runs))])
    names = list(runs)
    networks = [place for place, name in enumerate(names) if name.split()[0] in ("vanilla", "lds", "power")]

    def row(name: str, weights: np.ndarray) -> dict[str, Any]:
        found = {key: errors(part, weights @ part.predictions) for key, part in splits.items()}
        members = {names[place]: float(weights[place]) for place in np.flatnonzero(weights)}
        return {"ensemble": name, "split": split, "members": members} | {
            key: {group: _without_nan(values[group]) for group in GROUPS} for key, values in found.items()
        }

    def equal(members: list[str]) -> np.ndarray:
        return np.array([name in members for name in names]) / len(members)

    rows = [row("one vanilla network", equal(["vanilla 0"])), row("one lds network", equal(["lds 0"]))]
    rows += [row(name, equal(members)) for name, members in ensembles().items()]
    for metric in ("mae", "balanced_mae"):
        part = splits["val"]
        allowed = type(part)(part.label, part.bin, part.shot, part.predictions[networks])
        counts = select_greedily(allowed, metric, "all", MEMBERS)
        weights = np.zeros(len(names))
        weights[networks] = counts / counts.sum()
        rows.append(row(f"greedy selection by {metric}", weights))
    return rows


def _without_nan(values: dict[str, float]) -> dict[str, float | None]:
    return {key: None if np.isnan(value) else value for key, value in values.items()}


def _cell(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    return f"{np.mean(known):.2f}" + (f" ± {np.std(known, ddof=1):.2f}" if len(known) > 1 else "")


def table(content: dict[str, Any]) -> str:
    """Return the markdown table of a result file: test errors, mean and standard deviation over the splits."""
    heads = ("all", "many", "few", "balanced MAE")
    lines = [f"| ensemble | {' | '.join(heads)} |", "| --- |" + " --- |" * len(heads)]
    for name in dict.fromkeys(one["ensemble"] for one in content["rows"]):
        these = [one["test"] for one in content["rows"] if one["ensemble"] == name]
        columns = [[one[group]["mae"] for one in these] for group in heads[:3]]
        columns.append([one["all"]["balanced_mae"] for one in these])
        lines.append(f"| {name} | {' | '.join(map(_cell, columns))} |")
    return "\n".join(lines)


def main() -> None:
    args = parse(parser_of(__doc__ or "", seeds=3), table)
    register_configs()
    facts = {"commit": commit(), "torch": torch.__version__, "machine": platform.machine(), "device": "cpu"}
    rows: list[dict[str, Any]] = []
    for split in range(args.seeds):
        with tempfile.TemporaryDirectory() as folder:
            rows += measure(args.file, args.target, split, Path(folder))
        print(f"split {split}\n{table({'rows': rows})}", flush=True)
        # After each split, so that an interrupted benchmark keeps what it has measured.
        content = facts | {"data": args.file.name, "rows": rows}
        write_atomic(args.out, (json.dumps(content, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
