"""Plants wrong labels in a table and measures what +noise=downweight does to the test error on right labels.

python -m benchmarks.downweight abalone.csv Rings --out benchmarks/results/downweight_abalone.json
python -m benchmarks.downweight --show benchmarks/results/downweight_abalone.json

Labels of the training and the validation rows are replaced as in benchmarks/audit.py; test rows keep theirs.
An audit of the vanilla run gives the weights. The shot groups are those of the right labels.
"""

from __future__ import annotations

import contextlib
import io
import json
import platform
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from hydra import compose, initialize_config_dir

from benchmarks.audit import parse, parser_of, plant
from dir._atomic import write_atomic
from dir.data.arrays import automatic_bins
from dir.data.tabular import TabularData
from dir.recipe.audit import audit_run
from dir.recipe.cli import config_dir
from dir.recipe.run_folder import RunFolder
from dir.recipe.run_info import commit
from dir.recipe.schema import register_configs
from dir.recipe.train import train

CONDITIONS = [(0.0, "clean"), (0.15, "uniform"), (0.05, "uniform"), (0.15, "tail")]
# Runs by name: method, and the comparison of +noise=downweight or none.
RUNS = {
    "vanilla": ("vanilla", None),
    "vanilla, by=shot": ("vanilla", "shot"),
    "hist_gbdt": ("hist_gbdt", None),
    "hist_gbdt, by=shot": ("hist_gbdt", "shot"),
    "hist_gbdt, by=all": ("hist_gbdt", "all"),
}


def measure(file: Path, target: str, share: float, kind: str, seed: int, folds: int) -> dict[str, Any]:
    """Return the errors on right test labels, and the weights of right and wrong rows, for one condition."""
    frame = pd.read_csv(file)
    data = TabularData(str(file), target, seed=seed)
    data.setup()
    test = np.zeros(len(frame), dtype=bool)
    test[data.row_numbers("test")] = True
    clean = frame.loc[~test, target].to_numpy(float)
    noisy = plant(clean, share, kind, seed) if share else clean
    labels = torch.from_numpy(clean).float()
    bins = automatic_bins(labels, 50)
    counts = bins.counts(labels)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        frame[~test].assign(**{target: noisy}).to_csv(folder / file.name, index=False)
        frame[test].to_csv(folder / "test.csv", index=False)
        fixed = ["+experiment=tabular", f"data.path={folder / file.name}", f"data.test_path={folder / 'test.csv'}"]
        fixed += [f"data.target={target}", "logger=none", f"seed={seed}", "trainer.accelerator=cpu"]
        errors: dict[str, dict[str, float]] = {}
        weights: dict[str, Any] = {}
        for number, (run, (method, by)) in enumerate(RUNS.items()):
            more = [f"method={method}"] + ([] if by is None else ["+noise=downweight", f"noise.by={by}"])
            more += [] if by is None else [f"noise.audit={folder / 'audit.csv'}"]
            with initialize_config_dir(config_dir(), version_base="1.3"):
                cfg = compose("train", [*fixed, *more])
            with contextlib.redirect_stdout(io.StringIO()):
                train(cfg, RunFolder(folder / str(number)), {"method": method})
            found = np.load(folder / str(number) / "predictions.npz")
            error = np.abs(found["prediction"].astype(float) - found["label"])
            index = bins(torch.from_numpy(found["label"]).float())
            few, many = counts[index].numpy() < 20, counts[index].numpy() > 100
            errors[run] = {"all": error.mean(), "many": error[many].mean(), "few": error[few].mean()}
            if by is not None and method == "hist_gbdt":
                weights[by] = _notes(folder / str(number))
            if number == 0:
                audit = audit_run(folder / "0" / "checkpoints" / "best.ckpt", folds=folds, progress=False)
                pd.DataFrame(asdict(audit)).to_csv(folder / "audit.csv", index=False)
    return {"share": share, "kind": kind, "seed": seed, "errors": errors, "weights": weights}


def _notes(run: Path) -> list[str]:
    """Return the lines of a run about the rows of each shot group that weigh less."""
    notes: list[str] = json.loads((run / "data.json").read_text())["description"]["importance"]["notes"]
    return notes


def table(content: dict[str, Any]) -> str:
    """Return the markdown table of a result file: test MAE of all and of few-shot labels by condition."""
    conditions = CONDITIONS
    names = ["clean" if not share else f"{share:.0%} {kind}" for share, kind in conditions]
    lines = [f"| run | {' | '.join(names)} |", "| --- |" + " --- |" * len(names)]
    for run in RUNS:
        cells = []
        for share, kind in conditions:
            these = [one["errors"][run] for one in content["runs"] if (one["share"], one["kind"]) == (share, kind)]
            means = [np.mean([one[group] for one in these]) if these else np.nan for group in ("all", "few")]
            cells.append(f"{means[0]:.2f} / {means[1]:.2f}")
        lines.append(f"| {run} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = parser_of(__doc__ or "", seeds=3)
    parser.add_argument("--folds", type=int, default=2, help="folds of the audit (default: 2)")
    args = parse(parser, table)
    register_configs()
    facts = {"commit": commit(), "torch": torch.__version__, "machine": platform.machine(), "device": "cpu"}
    facts |= {"data": args.file.name, "folds": args.folds}
    runs = []
    for seed in range(args.seeds):
        for share, kind in CONDITIONS:
            runs.append(measure(args.file, args.target, share, kind, seed, args.folds))
            print(json.dumps(runs[-1]), flush=True)
            # After each condition, so that an interrupted benchmark keeps what it has measured.
            write_atomic(args.out, (json.dumps(facts | {"runs": runs}, indent=1) + "\n").encode())
    print(table({"runs": runs}))


if __name__ == "__main__":
    main()
