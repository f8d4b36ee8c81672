"""Cross-validated errors of the estimators of dir.sklearn on a table, with the plain regressors beside them.

    python benchmarks/sklearn_scores.py abalone.csv Rings [--out benchmarks/results/sklearn_scores.json]
    python benchmarks/sklearn_scores.py --table benchmarks/results/sklearn_scores.json

Three folds, drawn again for each of three seeds; the seed is also that of the model. The scores of every fold are
added to the file, under the name of the table. ``--table`` prints the table of docs/sklearn.md: mean and standard
deviation over the seeds of the mean over the folds. All settings are defaults, except for forests: their leaves hold
five rows or more.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sklearn
import torch
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.model_selection import KFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from dir.sklearn import ImbalancedRegressor, SampleWeighter, TargetPower, balanced_mae_scorer, shot_mae_scorer

SEEDS = (0, 1, 2)
FOLDS = 3
COLUMNS = {"mae": "MAE", "balanced_mae": "balanced MAE", "few_mae": "few-shot MAE"}


def models(seed: int) -> dict[str, BaseEstimator]:
    """Return the models by the name that the table shows."""
    boosting = HistGradientBoostingRegressor(random_state=seed)
    forest = RandomForestClassifier(min_samples_leaf=5, random_state=seed)
    found: dict[str, BaseEstimator] = {
        "HistGradientBoostingRegressor": boosting,
        "SampleWeighter(HistGradientBoostingRegressor)": SampleWeighter(boosting),
        "RandomForestRegressor": RandomForestRegressor(min_samples_leaf=5, random_state=seed),
        "TargetPower(RandomForestClassifier, power=0)": TargetPower(forest, power=0.0),
        "TargetPower(RandomForestClassifier)": TargetPower(forest, random_state=seed),
    }
    for method in ("vanilla", "lds", "lds_fds", "histogram_prior"):
        found[f'ImbalancedRegressor("{method}")'] = ImbalancedRegressor(method, random_state=seed)
    return found


def measure(path: Path, target: str) -> Iterator[dict[str, Any]]:
    """Yield the scores of every model, seed and fold on a table, after each seed."""
    frame = pd.read_csv(path)
    X, y = frame.drop(columns=target), frame[target].astype(float)  # noqa: N806
    text = X.select_dtypes(exclude="number").columns.tolist()
    columns = ColumnTransformer([("text", OneHotEncoder(sparse_output=False), text)], remainder="passthrough")
    scoring = {
        "mae": "neg_mean_absolute_error",
        "balanced_mae": balanced_mae_scorer(y),
        "few_mae": shot_mae_scorer(y, "few"),
    }
    results: dict[str, Any] = {}
    for seed in SEEDS:
        folds = KFold(FOLDS, shuffle=True, random_state=seed)
        for name, model in models(seed).items():
            began = time.perf_counter()
            pipeline = make_pipeline(columns, model)
            found = cross_validate(pipeline, X, y, cv=folds, scoring=scoring, error_score="raise")
            kept = results.setdefault(name, {key: [] for key in COLUMNS})
            for key in COLUMNS:
                kept[key].append((-found[f"test_{key}"]).round(5).tolist())
            print(f"{path.stem} seed {seed} {name}: {time.perf_counter() - began:.0f} s", flush=True)
        yield {"target": target, "rows": len(y), "models": results}


def table(content: dict[str, Any]) -> str:
    """Return the results as tables in Markdown."""
    lines = []
    for name, data in content["data"].items():
        seeds = len(next(iter(data["models"].values()))["mae"])
        lines += ["", f"{name}.csv, target `{data['target']}`, {data['rows']} rows, {seeds} seeds:", ""]
        lines += [f"| model | {' | '.join(COLUMNS.values())} |", "|---|" + "---|" * len(COLUMNS)]
        for model, scores in data["models"].items():
            cells = []
            for key in COLUMNS:
                by_seed = np.mean(scores[key], axis=1)
                spread = f" ± {by_seed.std(ddof=1):.2f}" if len(by_seed) > 1 else ""
                cells.append(f"{by_seed.mean():.2f}{spread}")
            lines.append(f"| `{model}` | {' | '.join(cells)} |")
    return "\n".join(lines[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, nargs="?", help="a csv file with a header")
    parser.add_argument("target", nargs="?", help="column to predict")
    parser.add_argument("--out", type=Path, help="json file that the results are added to")
    parser.add_argument("--table", type=Path, help="json file whose table is printed")
    given = parser.parse_args()
    if given.table is not None:
        print(table(json.loads(given.table.read_text(encoding="utf-8"))))
        return
    if given.target is None:
        parser.error("name a csv file and a column, or --table FILE")
    content: dict[str, Any] = {"data": {}}
    if given.out is not None and given.out.exists():
        content = json.loads(given.out.read_text(encoding="utf-8"))
    content["versions"] = {"scikit-learn": sklearn.__version__, "torch": str(torch.__version__)}
    for results in measure(given.path, given.target):
        content["data"][given.path.stem] = results
        if given.out is not None:
            given.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(table(content))


if __name__ == "__main__":
    main()
