"""The data of a run: recorded in the run folder, compared when the run resumes, restored for its evaluation."""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
import warnings
from pathlib import Path
from typing import Any, NamedTuple

from dir._checks import message
from dir.data.base import RegressionData
from dir.recipe.same_settings import leaves

_ADVICE = "Restore the data of the run, or remove the folder to start again."


class DataRecord(NamedTuple):
    """Row ids of each split, fingerprint and description: see :class:`dir.data.base.RegressionData`."""

    split: dict[str, list[str]]
    fingerprint: dict[str, Any]
    description: dict[str, Any]

    @property
    def hash(self) -> str:
        """Hash of the whole fingerprint, 16 hexadecimal digits; the names of files do not count."""
        return hashlib.sha256(json.dumps(_without_names(self.fingerprint), sort_keys=True).encode()).hexdigest()[:16]

    def files(self) -> dict[str, bytes]:
        """Return the content of split.json.gz and data.json."""
        split = gzip.compress(json.dumps(self.split).encode(), mtime=0)
        content = {"fingerprint": self.fingerprint, "description": self.description}
        return {"split.json.gz": split, "data.json": (json.dumps(content, indent=2) + "\n").encode()}


def record_of(data: RegressionData) -> DataRecord | None:
    """Return the record of a data module, or None with a warning if its rows have no ids."""
    try:
        split, fingerprint = data.split_ids(), data.fingerprint()
    except RuntimeError as error:
        advice = "The run keeps no split, so that its evaluation and its resuming cannot check the data."
        warnings.warn(message("data", f"the rows cannot be identified ({error})", advice=advice), stacklevel=2)
        return None
    # The same types as after reading the file: tuples become lists.
    return DataRecord(split, json.loads(json.dumps(fingerprint, default=str)), data.describe())


def read_split(folder: Path) -> dict[str, list[str]] | None:
    """Return the row ids of each split of a run, or None with a note if the run kept none.

    Raises:
        ValueError: the file is damaged.
    """
    path = folder / "split.json.gz"
    if not path.is_file():
        note = message(str(path), "the run kept no split", advice="Its split is drawn again from the data found now.")
        print(note, file=sys.stderr)
        return None
    try:
        # gzip compares a checksum of the content.
        split: dict[str, list[str]] = json.loads(gzip.decompress(path.read_bytes()))
    except Exception as error:  # gzip, zlib and json raise several types
        raise ValueError(message(str(path), f"the file cannot be read, it is damaged ({error})")) from error
    if not isinstance(split, dict) or not all(isinstance(ids, list) for ids in split.values()):
        raise ValueError(message(str(path), "expected lists of row ids by split", type(split).__name__))
    return split


def read_log1p(folder: Path) -> bool | None:
    """Return whether a run was trained on log(1 + label), or None if the run kept no such choice."""
    path = folder / "data.json"
    if not path.is_file():
        return None
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))["description"].get("target", {}).get("log1p")
    except (ValueError, KeyError, AttributeError) as error:
        raise ValueError(message(str(path), f"the file cannot be read, it is damaged ({error})")) from error
    if kept is not None and not isinstance(kept, bool):
        raise ValueError(message(f"{path}: description.target.log1p", "expected true or false", kept))
    return kept


def check_same_data(record: DataRecord, folder: Path) -> None:
    """Raise a ValueError that names the differences between the data found now and the data of an interrupted run.

    Files may have other names and places. The output says so if an interrupted run has no data.json to compare with:
    an earlier version wrote it, or the file was removed.

    Args:
        record: record of the data found now.
        folder: run folder of the interrupted run.
    """
    path = folder / "data.json"
    if not path.is_file():
        if (folder / "config.yaml").is_file():
            note = message(str(path), "no such file", advice="The data could not be compared with that of the run.")
            print(note, file=sys.stderr)
        return
    try:
        saved: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["fingerprint"]
    except (ValueError, KeyError) as error:
        raise ValueError(message(str(path), f"the file cannot be read ({error})", advice=_ADVICE)) from error
    before, now = leaves(_without_names(saved)), leaves(_without_names(record.fingerprint))
    changed = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
    if changed:
        shown = ", ".join(f"{key} ({_short(before.get(key))} -> {_short(now.get(key))})" for key in changed[:8])
        raise ValueError(message("resume", f"the data of {folder} has changed: {shown}", advice=_ADVICE))


def _without_names(fingerprint: dict[str, Any]) -> dict[str, Any]:
    files = {
        key: {name: value for name, value in record.items() if name != "name"} if isinstance(record, dict) else record
        for key, record in fingerprint.get("files", {}).items()
    }
    return {**fingerprint, "files": files}


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 16 else f"{text[:12]}..."
