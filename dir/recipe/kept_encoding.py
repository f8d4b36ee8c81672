"""The encoding of inputs in the model bundle of a run, which an evaluation uses instead of fitting another."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from dir._checks import message
from dir.bundle.description import Description
from dir.bundle.fields import Fields
from dir.bundle.inputs import input_encoder
from dir.data.base import RegressionData

# Entries of an encoding that decide the numbers which the network sees.
_DECIDING = (
    *("kind", "columns", "encoder", "dates", "letters", "windows", "size", "channels", "resize", "steps"),
    "resized",
    *("form", "views", "normalize", "max_length", "split", "words", "unknown"),
)


def kept_encoding(bundle: Path, about: Description) -> dict[str, Any]:
    """Return the encoding in a bundle, checked if the data module will build an encoder from it.

    Raises:
        BundleError: the encoding is malformed.
    """
    if about.input.get("kind") in ("table", "windows"):
        input_encoder(Fields(about.input, str(bundle / "model.json"), "input"), bundle)
    return about.input


def check_encoding(data: RegressionData, bundle: Path, about: Description | None) -> None:
    """Raise a ValueError if the data is encoded in another way than in its run.

    Without a bundle the output says which encodings are fitted again: those of tables and of word lists.
    """
    now = data.encoding()
    if about is None:
        if now["kind"] in ("table", "windows") or now.get("form") == "words":
            note = "no model bundle, the encoding of the run is fitted again on the training rows found now"
            print(message(str(bundle), note), file=sys.stderr)
        return
    before = about.input
    changed = [key for key in _DECIDING if key in before and key in now and _plain(before[key]) != _plain(now[key])]
    if changed:
        problem = f"the inputs are encoded in another way than in the run: {', '.join(changed)}"
        raise ValueError(
            message("data", problem, advice="Remove the settings that change these, or restore the files.")
        )


def _plain(value: Any) -> Any:
    """Return a value as JSON gives it; a sentence encoder with a hash is compared by its hash, wherever it lies."""
    if isinstance(value, dict) and value.get("sha256") is not None:
        return value["sha256"]
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value
