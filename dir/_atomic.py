"""Files that a kill or a full disk cannot leave half written."""

from __future__ import annotations

import os
from pathlib import Path


def partial_of(path: Path) -> Path:
    """Where a file is written before it takes its name; the next write of it overwrites what a kill left."""
    return path.with_name(f".{path.name}.partial")


def write_atomic(path: Path, content: bytes) -> None:
    """All of the content or the old file. Folders on the way are made.

    Raises:
        OSError: it could not be written; nothing is left beside the old file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_of(path)
    try:
        with partial.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
