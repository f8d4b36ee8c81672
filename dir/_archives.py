"""Checks of zip archives, the container of PyTorch checkpoints and npz files."""

from __future__ import annotations

import zipfile
from pathlib import Path

from dir._checks import message

# Attribute of a folder in the directory of the archive.
_IS_FOLDER = 0x10


def check_archive(path: Path) -> None:
    """Raise a ValueError if the content of a zip archive does not match its checksums.

    PyTorch does not compare the CRC-32 of each entry that ``torch.save`` writes, so that a flipped bit would change a
    weight unnoticed. CRC-32 detects every single flipped bit.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a zip archive, or is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            # PyTorch reads no bytes of an entry that is marked as a folder, and leaves its tensor uninitialised.
            folders = [entry.filename for entry in archive.infolist() if entry.external_attr & _IS_FOLDER]
            damaged = folders[0] if folders else archive.testzip()
    except FileNotFoundError:
        raise
    except Exception as error:  # zipfile raises several types, such as NotImplementedError for a damaged method
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            message(str(path), f"the file cannot be read, it is cut off or damaged ({reason})")
        ) from error
    if damaged is not None:
        raise ValueError(
            message(
                str(path),
                f"the file cannot be read, it is damaged (its entry {damaged} differs from its checksum or its kind)",
            )
        )
