"""Reading of zip archives, the container of PyTorch checkpoints and npz files, with their checksums compared."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dir._checks import message

# Attribute of a folder in the directory of the archive.
_IS_FOLDER = 0x10
# Suffix of the entries of an npz file, and the first bytes of a file with one array.
_ARRAY, _SINGLE = ".npy", b"\x93NUMPY"


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
        raise ValueError(
            message(str(path), f"the file cannot be read, it is cut off or damaged ({_reason(error)})")
        ) from error
    if damaged is not None:
        raise ValueError(
            message(
                str(path),
                f"the file cannot be read, it is damaged (its entry {damaged} differs from its checksum or its kind)",
            )
        )


def npz_names(path: Path) -> list[str]:
    """Return the names of the arrays in an npz file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no npz file.
    """
    return sorted(name.removesuffix(_ARRAY) for name in _directory(path) if name.endswith(_ARRAY))


def read_npz(path: Path, names: Iterable[str] | None = None) -> dict[str, NDArray[Any]]:
    """Return arrays of an npz file, each compared with its checksum. No Python objects are unpickled.

    ``numpy.load`` compares the CRC-32 of an array only if it reads the entry to its last byte. An array whose header
    was damaged to a smaller shape comes back shorter, without an error. Reading to the end is free, because zipfile
    computes the checksum while it reads.

    Args:
        path: the file.
        names: arrays to read. Default: all.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no npz file, lacks an array, is damaged, or an array holds Python objects.
    """
    entries = _directory(path)
    found = sorted(name.removesuffix(_ARRAY) for name in entries if name.endswith(_ARRAY))
    if names is None:
        # A flipped bit in the name of an entry must not hide an array.
        others = [name for name in entries if not name.endswith(_ARRAY)]
        if others:
            raise ValueError(message(str(path), "expected entries with the suffix .npy", others))
        names = found
    names = list(names)
    lacking = [name for name in names if name not in found]
    if lacking:
        raise ValueError(message(str(path), f"no array {', '.join(map(repr, lacking))} (found: {', '.join(found)})"))
    with zipfile.ZipFile(path) as archive:
        return {name: _array(archive, name, path) for name in names}


def _array(archive: zipfile.ZipFile, name: str, path: Path) -> NDArray[Any]:
    try:
        with archive.open(name + _ARRAY) as stream:
            array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
            # zipfile compares the checksum when the last byte is read.
            if stream.read(1):
                raise ValueError("the entry is longer than its array")
    except Exception as error:  # from the zip reader to the parser of the array's header
        advice = (
            "The file is damaged or cut off, or the array holds Python objects. Save numbers or fixed-width strings."
        )
        where = f"{path}: array {name!r}"
        raise ValueError(message(where, f"not readable ({_reason(error)})", advice=advice)) from error
    return array


def _directory(path: Path) -> list[str]:
    try:
        with path.open("rb") as stream:
            if stream.read(len(_SINGLE)) == _SINGLE:
                raise ValueError("the file holds a single array without a name, as numpy.save writes it")
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except FileNotFoundError:
        raise
    except Exception as error:  # zipfile raises several types
        raise ValueError(message(str(path), f"not readable as an .npz file ({_reason(error)})")) from error


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
