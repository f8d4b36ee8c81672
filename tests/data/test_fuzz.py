"""Readers of damaged files: a value or an error that names the file, soon, and nothing written."""

from __future__ import annotations

import io
import random
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dir.data.csv_images import CsvImages
from dir.data.glove import read_glove
from dir.data.npz_images import NpzImages
from dir.data.stsb import read_stsb
from dir.data.tabular import TabularData

ROUNDS = 60
# Long enough for a busy machine, short against a hang.
SECONDS = 20.0
TOKENS = [
    *(
        b"\x00",
        b"\xff",
        b'"',
        b"'",
        b",",
        b"\t",
        b"\n",
        b"\r",
        b"\r\n",
        b"\xef\xbb\xbf",
        b"\xe2\x80\xa8",
        b"\xd9\xa3",
    ),
    *(b"", b"nan", b"inf", b"-inf", b"NA", b"True", b"1e999", b"1e308", b"-1", b"0x10", b"1_0", b"2020-01-01"),
    *(b"9" * 400, b"a" * 9000),
]


def mutated(valid: bytes, rng: random.Random) -> bytes:
    """The file with some damage: bytes changed, parts cut, doubled or replaced by something unusual."""
    content = bytearray(valid)
    for _ in range(rng.choice([1, 1, 2, 5, 20])):
        start = rng.randrange(len(content) + 1)
        stop = min(len(content), start + rng.choice([0, 1, 1, 4, 30, 400]))
        kind = rng.randrange(5)
        if kind == 0 and content:
            content[rng.randrange(len(content))] = rng.randrange(256)
        elif kind == 1:
            content[start:stop] = rng.choice(TOKENS)
        elif kind == 2:
            content[start:stop] = content[start:stop] * 2
        elif kind == 3:
            content = content[:start]
        else:
            field = content[start:stop].split(b",")[0]
            content[start : start + len(field)] = rng.choice(TOKENS)
    return bytes(content)


def damaged_files(valid: bytes, seed: int, rounds: int = ROUNDS) -> list[bytes]:
    rng = random.Random(seed)
    whole = [b"", b"\n", b"\x00" * 100, b"\xff\xfe" + "a,b\n1,2\n".encode("utf-16-le")]
    noise = [rng.randbytes(rng.choice([1, 10, 1000])) for _ in range(rounds // 4)]
    lines = valid.split(b"\n")
    shuffled = [b"\n".join(rng.sample(lines, len(lines))) for _ in range(rounds // 20)]
    return [*whole, *noise, *shuffled, *(mutated(valid, rng) for _ in range(rounds))]


def check(path: Path, read: Callable[[], object], contents: list[bytes]) -> tuple[int, int]:
    """Reads each content at ``path``; how many were read and how many refused."""
    good = bad = 0
    before = {p: p.stat().st_size for p in path.parent.rglob("*") if p != path}
    for content in contents:
        path.write_bytes(content)
        began = time.monotonic()
        message = _outcome(read, content)
        if message is None:
            good += 1
        else:
            bad += 1
            of_a_split = message.startswith(("train labels: expected at least two", "train labels", "val", "test"))
            assert path.name in message or of_a_split, f"{message}\n{content[:300]!r}"
            assert len(message) < 9000, f"{message[:300]}\n{content[:300]!r}"
        assert time.monotonic() - began < SECONDS, content[:300]
        assert path.read_bytes() == content
    assert {p: p.stat().st_size for p in path.parent.rglob("*") if p != path} == before
    return good, bad


def _outcome(read: Callable[[], object], content: bytes) -> str | None:
    """The message of the error, None where there is none; an error of a third type fails the test."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            read()
    except (ValueError, FileNotFoundError) as error:
        return str(error)
    except Exception as error:
        raise AssertionError(f"{type(error).__name__}: {error}\n{content[:300]!r}") from error
    return None


def stsb_file() -> bytes:
    rows = [f'{n}\ta "cat" {n}\ttwo dogs\t{n % 6}.25' for n in range(5)]
    return "\n".join(["index\tsentence1\tsentence2\tscore", *rows, ""]).encode()


def test_stsb(tmp_path: Path) -> None:
    path = tmp_path / "train_new.tsv"
    good, bad = check(path, lambda: read_stsb(path), [stsb_file(), *damaged_files(stsb_file(), seed=1, rounds=300)])
    assert good > 10
    assert bad > 100


def table_file() -> bytes:
    rows = [f"{n / 7:.3f},{'MF'[n % 2]},{n * n},{n % 9}" for n in range(40)]
    return "\n".join(["length,sex,weight,rings", *rows, ""]).encode()


@pytest.mark.parametrize("missing", ["refuse", "median", "drop"])
def test_tables(tmp_path: Path, missing: str) -> None:
    path = tmp_path / "table.csv"

    def read() -> None:
        data = TabularData(str(path), target="rings", missing=missing, split="random")  # type: ignore[arg-type]
        data.setup()
        for split in ("train", "val", "test"):
            inputs, labels = data.dataset(split)[0]  # type: ignore[arg-type]
            assert np.isfinite(inputs.numpy()).all()
            assert np.isfinite(labels.numpy()).all()

    good, bad = check(path, read, [table_file(), *damaged_files(table_file(), seed=ord(missing[0]), rounds=40)])
    assert good > 1
    assert bad > 10


def npz_file() -> bytes:
    rng = np.random.default_rng(0)
    stream = io.BytesIO()
    np.savez(
        stream,
        images=rng.integers(0, 256, (12, 6, 6), dtype=np.uint8),
        angle=rng.random(12).astype(np.float32),
        split=np.arange(12) % 3,
    )
    return stream.getvalue()


def test_npz_images(tmp_path: Path) -> None:
    path = tmp_path / "images.npz"
    read = lambda: NpzImages(str(path), label="angle").setup()  # noqa: E731
    good, bad = check(path, read, [npz_file(), *damaged_files(npz_file(), seed=4, rounds=300)])
    assert good > 1
    assert bad > 100


def test_csv_images(tmp_path: Path) -> None:
    path = tmp_path / "faces.csv"
    for number in range(6):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"{number}.png")
    rows = [f"{20 + n},{n}.png,{('train', 'val', 'test')[n % 3]}" for n in range(6)]
    valid = "\n".join(["age,path,split", *rows, ""]).encode()
    read = lambda: CsvImages(str(path), str(tmp_path), image_size=4, padding=1).setup()  # noqa: E731
    good, bad = check(path, read, [valid, *damaged_files(valid, seed=5)])
    assert good > 1
    assert bad > 30


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_images(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"face.{suffix}"
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(path)
    valid = path.read_bytes()
    for name in ("a", "b"):
        (tmp_path / f"{name}.{suffix}").write_bytes(valid)
    csv = tmp_path / "faces.csv"
    csv.write_text(f"age,path,split\n1,{path.name},train\n2,a.{suffix},train\n3,b.{suffix},val\n4,a.{suffix},test\n")

    def read() -> None:
        data = CsvImages(str(csv), str(tmp_path), image_size=4, padding=1, check_images=False)
        data.setup()
        data.dataset("train")[0]

    good, bad = check(path, read, [valid, *damaged_files(valid, seed=6)])
    assert good >= 1  # PNG has checksums
    assert bad > 20


def test_glove(tmp_path: Path) -> None:
    path = tmp_path / "glove.txt"
    valid = "\n".join(f"{word} 0.1 -0.2 {n}" for n, word in enumerate(["a", "cat", "two", ". .", "dogs"])).encode()
    words = ["a", "cat", "two", "dogs", "nan", "absent"]
    good, bad = check(path, lambda: read_glove(path, words), [valid, *damaged_files(valid, seed=7, rounds=300)])
    assert good > 50
    assert bad > 50


def test_a_folder_in_the_place_of_a_file_is_no_file(tmp_path: Path) -> None:
    readers: list[Callable[[], object]] = [
        lambda: read_stsb(tmp_path),
        lambda: TabularData(str(tmp_path), target="y").setup(),
        lambda: NpzImages(str(tmp_path), label="y").setup(),
        lambda: read_glove(tmp_path, ["a"]),
        lambda: CsvImages(str(tmp_path), str(tmp_path)).setup(),
    ]
    for read in readers:
        with pytest.raises(FileNotFoundError, match=tmp_path.name):
            read()
