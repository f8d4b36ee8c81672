"""A bundle as a model of MLflow's kind "pyfunc", which holds the files of the bundle and no pickled code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dir._checks import message
from dir.bundle.inputs.images import ImageInputs
from dir.bundle.inputs.tables import TableInputs
from dir.bundle.inputs.texts import TextInputs
from dir.bundle.inputs.windows import WindowInputs
from dir.bundle.loading import load
from dir.bundle.model import Model

if TYPE_CHECKING:
    from mlflow.models import ModelSignature


class PyfuncModel:
    """A bundle with the ``predict`` of MLflow.

    Args:
        model: the loaded bundle.
    """

    def __init__(self, model: Model) -> None:
        self.model = model

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """Return the predictions in raw label units, [N] or [N, K] of several targets.

        Args:
            model_input: a frame for tables and texts; a uint8 array for pictures.
            params: not used; MLflow gives them.
        """
        return self.model.predict(model_input)


def _load_pyfunc(path: str) -> PyfuncModel:
    """Load the bundle in an MLflow model; MLflow looks for this name."""
    return PyfuncModel(load(path))


def save_pyfunc(bundle: Path, target: Path) -> None:
    """Write a bundle as a pyfunc model with a signature and an input example.

    Args:
        bundle: the bundle.
        target: folder of the MLflow model; must not exist.

    Raises:
        ValueError: a bundle whose inputs MLflow cannot describe: windows of a series, and plain arrays.
    """
    from mlflow import pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import Schema

    from dir.bundle.requirements import requirements

    model = load(bundle)
    schema, example = _inputs(model)
    predicted = PyfuncModel(model).predict(example)
    shape = (-1, *predicted.shape[1:])
    signature: ModelSignature = ModelSignature(inputs=schema, outputs=Schema([_tensor(predicted.dtype, shape)]))
    pyfunc.save_model(
        path=str(target),
        loader_module=__name__,
        data_path=str(bundle),
        signature=signature,
        input_example=example,
        pip_requirements=requirements(model),
    )


def _inputs(model: Model) -> tuple[Any, Any]:
    """Return the schema of the inputs of a model, and one row that it can predict."""
    from mlflow.types import ColSpec, Schema

    encoder = model.encoder
    if isinstance(encoder, TableInputs) and not isinstance(encoder, WindowInputs):
        first: dict[str, Any] = {name: _first(known) for name, known in encoder.encoder.categories.items()}
        for name, length in encoder.letters.items():
            # A letter of the training rows stands at each position.
            first[name] = "".join(str(encoder.encoder.categories[f"{name}_{at + 1}"][0]) for at in range(length))
        first |= dict.fromkeys(encoder.dates, "2000-01-01")
        row = {name: first.get(name, 0.0) for name in encoder.raw}
        types: dict[type, Any] = {str: "string", int: "long", float: "double"}
        kinds = {name: types[type(value)] for name, value in row.items()}
        return Schema([ColSpec(kinds[name], name) for name in row]), pd.DataFrame([row])
    if isinstance(encoder, TextInputs):
        text = next(iter(getattr(encoder, "words", {})), "one")
        return Schema([ColSpec("string", name) for name in encoder.columns]), pd.DataFrame(
            [dict.fromkeys(encoder.columns, text)]
        )
    if isinstance(encoder, ImageInputs):
        sides = (-1, -1) if encoder.resize else encoder.size
        schema = Schema([_tensor(np.dtype(np.uint8), (-1, *sides, encoder.channels))])
        return schema, np.zeros((1, *encoder.size, encoder.channels), dtype=np.uint8)
    advice = "Its bundle is among the files of the run."
    raise ValueError(message("MLflow model", "no form for the inputs of this model", encoder.kind, advice))


def _first(categories: NDArray[Any]) -> str | int | float:
    """Return the first of some categories, as a number where all are: pandas reads such a column as numbers."""
    try:
        numbers = [float(name) for name in categories.tolist()]
    except ValueError:
        return str(categories[0])
    # MLflow converts no int64 to float64.
    return int(numbers[0]) if all(number.is_integer() for number in numbers) else numbers[0]


def _tensor(dtype: Any, shape: tuple[int, ...]) -> Any:
    from mlflow.types import TensorSpec

    return TensorSpec(np.dtype(dtype), shape)
