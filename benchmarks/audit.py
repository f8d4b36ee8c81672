"""Plants wrong labels in a table and measures how well rankings of the training rows find them.

python benchmarks/audit.py abalone.csv Rings --out benchmarks/results/audit_abalone.json
python benchmarks/audit.py --show benchmarks/results/audit_abalone.json

Each condition replaces a share of the labels, uniformly over the label range, or by labels that few rows have
("tail"). The measure is the average precision (area under the precision-recall curve) of finding the replaced labels
among all training rows, and among the rows of the few-shot group, where a rare label and a wrong one look alike.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from hydra import compose, initialize_config_dir
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.metrics import average_precision_score
from sklearn.neighbors import NearestNeighbors

from dir._atomic import write_atomic
from dir.recipe.audit import Audit, audit_run, score_rows
from dir.recipe.build import build
from dir.recipe.cli import config_dir, register_configs
from dir.recipe.run_data import read_split
from dir.recipe.run_folder import RunFolder
from dir.recipe.run_info import commit
from dir.recipe.targets import load_config
from dir.recipe.train import train

CONDITIONS = [(0.05, "uniform"), (0.05, "tail"), (0.15, "uniform"), (0.15, "tail")]
RANKINGS = {
    "score": "mean of the ranks of both errors",
    "held_out": "held-out error alone",
    "training": "error over the epochs alone (the score)",
    "disagreement": "disagreement of the trained networks alone",
    "both": "mean of the ranks of error over the epochs and disagreement",
    "surprise": "held-out error divided by held-out disagreement",
    "knn": "distance to the mean label of 20 neighbours",
    "cleanlab": "cleanlab's regression learner on boosted trees",
}


def plant(labels: np.ndarray, share: float, kind: str, seed: int) -> np.ndarray:
    """Return labels of which a share is replaced by values between the smallest and the largest label."""
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(labels), int(share * len(labels)), replace=False)
    values, counts = np.unique(labels, return_counts=True)
    pool = values if kind == "uniform" else values[counts < 20]
    noisy = labels.copy()
    noisy[rows] = rng.choice(pool, len(rows))
    return noisy


def measure(file: Path, target: str, share: float, kind: str, seed: int) -> dict[str, Any]:
    """Return the average precision of each ranking for one condition."""
    frame = pd.read_csv(file)
    clean = frame[target].to_numpy(float)
    noisy = plant(clean, share, kind, seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / file.name
        frame.assign(**{target: noisy}).to_csv(path, index=False)
        register_configs()
        with initialize_config_dir(config_dir(), version_base="1.3"):
            cfg = compose(
                "train",
                [
                    *("+experiment=tabular", f"data.path={path}", f"data.target={target}", "logger=none"),
                    *(f"seed={seed}", "trainer.accelerator=cpu"),
                ],
            )
        run = Path(folder) / "run"
        with contextlib.redirect_stdout(io.StringIO()):
            train(cfg, RunFolder(run), {"method": "vanilla"})
            started = time.perf_counter()
            found = audit_run(run / "checkpoints" / "best.ckpt", progress=False)
            seconds = time.perf_counter() - started
            data = build(load_config(run / "checkpoints" / "best.ckpt", [])).data
            data.restore_split(read_split(run))
    features, label = data.table("train")
    rows = np.array(data.row_numbers("train"))
    if not np.allclose(noisy[rows], found.label) or not np.allclose(label, found.label):
        raise RuntimeError("The rows of the audit are not the rows of the table.")
    wrong = noisy[rows] != clean[rows]
    encoded = pd.get_dummies(features).astype(float)
    scaled = ((encoded - encoded.mean()) / encoded.std()).to_numpy()
    rankings = rankings_of(found, scaled)
    counts = condition(wrong, found.shot == "few", rankings)
    return {"share": share, "kind": kind, "seed": seed, **counts, "seconds": round(seconds, 1)}


def condition(wrong: np.ndarray, few: np.ndarray, rankings: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return the counts of a condition, and the average precision of each ranking over all and over few-shot rows."""

    def precision(rows: np.ndarray) -> dict[str, float]:
        return {name: float(average_precision_score(wrong[rows], value[rows])) for name, value in rankings.items()}

    return {
        "rows": len(wrong),
        "wrong": int(wrong.sum()),
        "few": int(few.sum()),
        "wrong_in_few": int(wrong[few].sum()),
        "all": precision(np.ones(len(wrong), dtype=bool)),
        "few_shot": precision(few),
    }


def rankings_of(found: Audit, features: np.ndarray) -> dict[str, np.ndarray]:
    """Return the suspicion of each row by each ranking; ``features`` [N, D] are standardised."""
    neighbours = NearestNeighbors(n_neighbors=21).fit(features).kneighbors(features)[1][:, 1:]
    return {
        "score": score_rows(found.held_out_error) + score_rows(found.training_error),
        "held_out": found.held_out_error,
        "training": found.training_error,
        "disagreement": found.training_disagreement,
        "both": score_rows(found.training_error) + score_rows(found.training_disagreement),
        "surprise": found.held_out_error / found.held_out_disagreement,
        "knn": np.abs(found.label - found.label[neighbours].mean(axis=1)),
        "cleanlab": _cleanlab(features, found.label),
    }


def _cleanlab(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    from cleanlab.regression.learn import CleanLearning

    learner = CleanLearning(HistGradientBoostingRegressor(random_state=0), n_boot=2, seed=0)
    return -learner.find_label_issues(features, labels)["label_quality"].to_numpy()


def table(content: dict[str, Any]) -> str:
    """Return the markdown table of a result file: rankings by conditions, averaged over the seeds."""
    lines = ["| ranking of the training rows | group |", "| --- | --- |"]
    measured = {(run["share"], run["kind"]) for run in content["runs"]}
    conditions = [condition for condition in CONDITIONS if condition in measured]
    for share, kind in conditions:
        lines[0] += f" {share:.0%} {kind} |"
        lines[1] += " --- |"
    runs = content["runs"]
    for group, name in (("all", "all"), ("few_shot", "few")):
        chance = []
        for share, kind in conditions:
            these = [run for run in runs if (run["share"], run["kind"]) == (share, kind)]
            parts = ("wrong", "rows") if group == "all" else ("wrong_in_few", "few")
            chance.append(np.mean([run[parts[0]] / run[parts[1]] for run in these]))
        for key, label in [(key, label) for key, label in RANKINGS.items() if key in runs[0][group]]:
            cells = []
            for share, kind in conditions:
                these = [run[group] for run in runs if (run["share"], run["kind"]) == (share, kind)]
                # Some runs of an earlier version have fewer rankings.
                these = [one[key] for one in these if key in one]
                cells.append(f"{np.mean(these):.3f}")
            lines.append(f"| {label} | {name} | {' | '.join(cells)} |")
        lines.append(f"| random order | {name} | {' | '.join(f'{value:.3f}' for value in chance)} |")
    return "\n".join(lines)


def parser_of(about: str, seeds: int) -> argparse.ArgumentParser:
    """Return the parser of a benchmark on planted labels, with its text of help and its default number of seeds."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, nargs="?", help="csv file")
    parser.add_argument("target", nargs="?", help="label column")
    parser.add_argument("--seeds", type=int, default=seeds, help=f"number of seeds (default: {seeds})")
    parser.add_argument("--out", type=Path, help="result file (json)")
    parser.add_argument("--show", type=Path, help="print the table of a result file")
    return parser


def parse(parser: argparse.ArgumentParser, show: Callable[[dict[str, Any]], str]) -> argparse.Namespace:
    """Return the arguments of the process; with ``--show`` print the table of a result file and end the process."""
    args = parser.parse_args()
    if args.show:
        print(show(json.loads(args.show.read_text())))
        sys.exit()
    if not (args.file and args.target and args.out):
        parser.error("expected FILE TARGET --out RESULT, or --show RESULT")
    return args


def main() -> None:
    args = parse(parser_of(__doc__ or "", seeds=2), table)
    runs = []
    for share, kind in CONDITIONS:
        for seed in range(args.seeds):
            runs.append(measure(args.file, args.target, share, kind, seed))
            print(json.dumps(runs[-1]), flush=True)
    facts = {"commit": commit(), "torch": torch.__version__, "machine": platform.machine(), "device": "cpu"}
    write_atomic(args.out, (json.dumps(facts | {"data": args.file.name, "runs": runs}, indent=1) + "\n").encode())
    print(table({"runs": runs}))


if __name__ == "__main__":
    main()
