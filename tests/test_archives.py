"""Reading of npz files: every flipped bit changes nothing or is an error that names the file."""

from __future__ import annotations

import random
import zipfile
from pathlib import Path

import numpy as np
import pytest

from dir._archives import npz_names, read_npz


def content() -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    return {"label": draw.normal(size=60), "row_id": np.array([f"row {n}" for n in range(60)]), "n": np.array(3)}


def flipped(content: bytes, place: int, bit: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_every_flipped_bit_is_refused_by_name_or_changes_nothing(tmp_path: Path, save: object) -> None:
    path = tmp_path / "x.npz"
    save(path, **content())  # type: ignore[operator]
    whole = path.read_bytes()
    draw = random.Random(1)
    refused = harmless = 0
    for _ in range(400):
        path.write_bytes(flipped(whole, draw.randrange(len(whole)), draw.randrange(8)))
        try:
            found = read_npz(path, ["label", "row_id"])
        except ValueError as error:
            refused += str(error).startswith(str(path))
            continue
        for name, array in found.items():
            assert array.dtype == content()[name].dtype
            np.testing.assert_array_equal(array, content()[name])
        harmless += 1
    assert refused > 200
    assert refused + harmless == 400


def test_an_array_that_numpy_returns_shortened_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, label=np.arange(60_000.0))
    whole = path.read_bytes()
    place = whole.index(b"(60000,)") + 1
    path.write_bytes(flipped(whole, place, 1))  # "6" becomes "4"
    with np.load(path) as arrays:
        assert len(arrays["label"]) == 40_000  # numpy reads 40,000 of 60,000 values and compares no checksum
    with pytest.raises(ValueError, match=r"x\.npz: array 'label': .*longer"):
        read_npz(path)


def test_names_are_listed_and_missing_names_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, **content())
    assert npz_names(path) == ["label", "n", "row_id"]
    assert read_npz(path)["n"] == 3
    with pytest.raises(ValueError, match=r"x\.npz: no array 'price' \(found: label, n, row_id\)"):
        read_npz(path, ["price"])
    with pytest.raises(FileNotFoundError):
        read_npz(tmp_path / "none.npz")


def test_python_objects_single_arrays_and_other_files_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match=r"x\.npz: array 'a': .*objects"):
        read_npz(tmp_path / "x.npz")
    np.save(tmp_path / "single.npy", np.zeros(3))
    with pytest.raises(ValueError, match=r"single\.npy: .*single array"):
        read_npz(tmp_path / "single.npy")
    (tmp_path / "text.npz").write_text("text")
    with pytest.raises(ValueError, match=r"text\.npz: not readable"):
        read_npz(tmp_path / "text.npz")
    with zipfile.ZipFile(tmp_path / "longer.npz", "w") as archive:
        archive.writestr("a.npy", (tmp_path / "single.npy").read_bytes() + b"more")
    with pytest.raises(ValueError, match=r"longer\.npz: array 'a'"):
        read_npz(tmp_path / "longer.npz")


def test_a_damaged_name_hides_no_array(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, **content())
    whole = path.read_bytes()
    place = whole.rindex(b"row_id.npy") + len("row_id.np")  # in the directory at the end of the file
    path.write_bytes(flipped(whole, place, 0))
    with pytest.raises(ValueError, match=r"x\.npz: .*row_id\.npx"):
        read_npz(path)
    with pytest.raises(ValueError, match=r"x\.npz: no array 'row_id'"):
        read_npz(path, ["row_id"])
