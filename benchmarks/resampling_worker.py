"""Time our resamplers and the packages on PyPI in the Python that runs this file, and print one line of JSON.

``python -m benchmarks.resampling`` starts this file in environments without PyTorch, so that it imports little.
Arguments: the folder of ``dir``, the number of rows, and "ours" or "both".
"""

from __future__ import annotations

import contextlib
import io
import json
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import pandas as pd

COLUMNS = 10
# Our resampler, and the function of the package that does the same.
PAIRS = {
    "SMOGN": ("smogn", "smoter"),
    "SMOTER": ("ImbalancedLearningRegression", "smote"),
    "GaussianNoise": ("ImbalancedLearningRegression", "gn"),
    "RandomUnderSampler": ("ImbalancedLearningRegression", "random_under"),
    "RandomOverSampler": ("ImbalancedLearningRegression", "ro"),
    "WERCS": ("", ""),
}


def skewed_table(rows: int) -> tuple[pd.DataFrame, pd.Series[float]]:
    """Return ten columns of noise and a long-tailed label that depends on one of them; about a tenth is rare."""
    random = np.random.default_rng(0)
    columns = random.normal(size=(rows, COLUMNS))
    label = np.exp(0.5 * columns[:, 0] + 0.5 * random.normal(size=rows))
    return pd.DataFrame(columns, columns=[f"x{k}" for k in range(COLUMNS)]), pd.Series(label, name="y")


def seconds(action: Callable[[], object], rounds: int) -> float:
    """Return the median over the rounds, or the first round if it took five seconds. Output is discarded."""
    taken: list[float] = []
    while len(taken) < rounds and (not taken or taken[0] < 5):
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            began = time.perf_counter()
            action()
            taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that are compared."""
    found = {"python": platform.python_version()}
    for name in ("numpy", "pandas", "scikit-learn", "smogn", "ImbalancedLearningRegression"):
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def main(folder: str, rows: int, which: str) -> None:
    """Print ``{"rows": ..., "versions": ..., "methods": {name: {"ours": s, "theirs": s or "error": text}}}``."""
    sys.path.insert(0, folder)
    from dir import resampling

    features, label = skewed_table(rows)
    whole = features.assign(y=label)
    methods: dict[str, dict[str, Any]] = {}
    for name, (package, call) in PAIRS.items():
        sampler = getattr(resampling, name)(random_state=0)
        sampler.fit_resample(features, label)  # the first call also imports
        methods[name] = {"ours": seconds(lambda sampler=sampler: sampler.fit_resample(features, label), 5)}
        if which == "ours" or not package:
            continue
        methods[name]["package"] = f"{package}.{call}"
        try:
            theirs = getattr(__import__(package), call)
            methods[name]["theirs"] = seconds(lambda theirs=theirs: theirs(data=whole.copy(), y="y"), 3)
        except Exception as error:  # the table reports the error of the package
            methods[name]["error"] = f"{type(error).__name__}: {error}"
    print(json.dumps({"rows": rows, "versions": versions(), "methods": methods}))


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
