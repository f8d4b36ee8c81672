"""The file of predicted maps that ``dir-predict`` writes: an npz with a map for each picture."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dir._atomic import write_atomic
from dir._checks import message
from dir.bundle.model import Predicted


def check_map_output(target: Path) -> None:
    """Raise a ValueError unless the file of maps is an npz."""
    if target.suffix != ".npz":
        problem = "the model predicts a map for each picture, which a csv does not hold"
        raise ValueError(message("output", problem, str(target), "Give a file with the suffix .npz."))


def write_maps(target: Path, predicted: Predicted, keys: pd.DataFrame, unit: Any) -> None:
    """Write an npz and say what is in it.

    The file holds ``prediction`` (float [N, h, w], NaN for a picture that could not be read), ``variance`` where the
    model predicts one, and a text array for each column of ``keys``, such as ``path``.

    Args:
        target: the file.
        predicted: predictions of N pictures.
        keys: columns that identify the pictures, N rows.
        unit: unit of the predictions, for the output.
    """
    arrays: dict[str, Any] = {str(name): keys[name].astype(str).to_numpy(dtype="U") for name in keys}
    arrays["prediction"] = predicted.predictions
    if predicted.variances is not None:
        arrays["variance"] = predicted.variances
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_atomic(target, buffer.getvalue())
    count, height, width = predicted.predictions.shape
    done = count - len(predicted.problems)
    print(f"{done} maps of {height} x {width} predictions in {unit}, written to {target} (array 'prediction')")
    if predicted.problems:
        shown = "\n".join(f"  row {row + 1}: {why}" for row, why in list(predicted.problems.items())[:20])
        print(
            f"{len(predicted.problems)} maps are NaN, because the picture cannot be read:\n{shown}", file=sys.stderr
        )
