"""File names of a bundle, and checks of the arguments of the commands without PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from dir._checks import message

DESCRIPTION, WEIGHTS, ESTIMATOR, TOKENIZER = "model.json", "weights.safetensors", "estimator.skops", "tokenizer"
Format = Literal["onnx", "torch_export"]
FORMATS: tuple[Format, ...] = get_args(Format)
# Arguments that say how a csv file is written, and the fields of CsvOptions.
DIALECT = {f"data.{name}": name for name in ("sep", "decimal", "thousands", "encoding", "quoting")}
# Folder of the pictures that a csv names.
FOLDER = "data.path"


def find_bundle(folder: Path) -> Path:
    """Return the bundle in a folder: the folder itself, or its ``model``."""
    for candidate in (folder, folder / "model"):
        if (candidate / DESCRIPTION).is_file():
            return candidate
    raise FileNotFoundError(
        message(str(folder), "no model bundle (model.json) found", advice="Give the folder of a finished run.")
    )


def check_input(path: Path) -> None:
    """Raise a FileNotFoundError if the file or folder of the rows does not exist."""
    if not path.exists():
        raise FileNotFoundError(message("input", "no such file or folder", str(path)))
