"""Atomic writes: a killed process or a full disk leaves the old file, never half of the new one."""

from __future__ import annotations

import os
from pathlib import Path


def partial_of(path: Path) -> Path:
    """Return the temporary path of a file; the next write overwrites a temporary file left by a killed process."""
    return path.with_name(f".{path.name}.partial")


def write_atomic(path: Path, content: bytes) -> None:
    """Write the content to a temporary file and rename it to ``path``. Missing folders are created.

    Raises:
        OSError: the file could not be written. The old file is unchanged, and no temporary file is left.
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
