"""Row: a flipped bit in a file is refused by name, or changes no value that is read."""

from __future__ import annotations

import logging
import random
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.reliability import fixtures
from benchmarks.reliability.killed_runs import same
from benchmarks.reliability.rows import Case, Row

Read = Callable[[], Any]


class _Warnings(logging.Handler):
    """Collects the log lines of the package while it reads a file."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def _flips(path: Path, read: Read, count: int, before: Callable[[], None] = lambda: None) -> Iterator[Case]:
    """Flip single bits of a file at random places, and yield how ``read`` takes each of them.

    The values of the whole file are the oracle: they are read before the file is damaged.
    """
    before()
    whole, expected = path.read_bytes(), read()
    draw = random.Random(path.name)
    folder = {file.name: file.read_bytes() for file in path.parent.iterdir() if file.is_file()}
    log, handler = logging.getLogger("dir"), _Warnings()
    log.addHandler(handler)
    try:
        for _ in range(count):
            place, bit = draw.randrange(len(whole)), draw.randrange(8)
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
            before()
            handler.lines.clear()
            yield _one(f"{path.name}, byte {place}, bit {bit}", path, read, expected, handler.lines)
            for name, content in folder.items():
                if (path.parent / name).read_bytes() != content:
                    (path.parent / name).write_bytes(content)
    finally:
        log.removeHandler(handler)
        path.write_bytes(whole)
        before()


def _one(name: str, path: Path, read: Read, expected: Any, lines: list[str]) -> Case:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = read()
    except (ValueError, FileNotFoundError) as error:
        # Checksums that do not fit are an error about the cache that they belong to.
        named = path.name in str(error) or f"{path.stem.split('.')[0]}.npy" in str(error)
        return Case(name, "refused" if named else "error without the name of the file", str(error))
    except Exception as error:
        return Case(name, "other error", f"{type(error).__name__}: {error}")
    if not same(found, expected):
        return Case(name, "changed silently")
    made_again = any(path.stem.split(".")[0] in line for line in lines)
    return Case(name, "made again" if made_again else "harmless")


def _checkpoints(folder: Path, short: bool) -> Iterator[Case]:
    from dir.recipe.checkpoints import read_checkpoint

    run = fixtures.table_run(folder, "lds_fds")
    for name in ("last.ckpt", "best.ckpt"):
        path = run / "checkpoints" / name
        yield from _flips(path, lambda path=path: read_checkpoint(path), 20 if short else 300)  # type: ignore[misc]


def _bundles(folder: Path, short: bool) -> Iterator[Case]:
    from dir.bundle import load

    houses = fixtures.houses(10)
    for method, files in (("vanilla", ("model.json", "weights.safetensors")), ("bagging", ("estimator.skops",))):
        model = fixtures.table_run(folder, method) / "model"

        def predictions(model: Path = model) -> Any:
            loaded = load(model)
            about = loaded.description
            return [loaded.predict(houses.drop(columns="price")), about.target, about.counts, about.shots, about.run]

        for name in files:
            yield from _flips(model / name, predictions, 20 if short else 300)


def _run_files(folder: Path, short: bool) -> Iterator[Case]:
    from dir._archives import read_npz
    from dir.recipe.run_data import read_split

    run = fixtures.table_run(folder)
    count = 20 if short else 300
    yield from _flips(run / "predictions.npz", lambda: read_npz(run / "predictions.npz"), count)
    yield from _flips(run / "split.json.gz", lambda: read_split(run), count)


def _inputs(folder: Path, short: bool) -> Iterator[Case]:
    from dir.bundle.files import _npz
    from dir.data.npz_images import NpzImages

    for name, save in (("plain.npz", np.savez), ("compressed.npz", np.savez_compressed)):
        path = folder / name
        save(path, **fixtures.picture_arrays())  # type: ignore[arg-type]
        yield from _flips(path, lambda path=path: _tensors(NpzImages(str(path), "angle")), 20 if short else 300)  # type: ignore[misc]
        yield from _flips(path, lambda path=path: _npz(path, "images"), 20 if short else 300)  # type: ignore[misc]


def _caches(folder: Path, short: bool) -> Iterator[Case]:
    from dir.data import embeddings
    from dir.data.csv_images import CsvImages
    from dir.data.image_files import open_cache

    count = 20 if short else 300
    csv = fixtures.picture_files(folder)
    settings = {"image_size": 8, "padding": 1, "cache_dir": str(folder / "cache")}

    def pictures() -> Any:
        torch.manual_seed(0)
        data = CsvImages(str(csv), str(folder / "images"), **settings)  # type: ignore[arg-type]
        return [_tensors(data), {split: data.row_ids(split) for split in ("train", "val", "test")}]

    pictures()
    for path in sorted((folder / "cache").iterdir()):
        yield from _flips(path, pictures, count, open_cache.cache_clear)

    texts, encode = [f"sentence {number}" for number in range(20)], embeddings._encode
    table = np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32)
    embeddings._encode = lambda *_: table
    try:
        read = lambda: embeddings.sentence_embeddings(texts, "no-such-encoder", cache_dir=folder / "texts")  # noqa: E731
        read()
        (path,) = (folder / "texts").iterdir()
        yield from _flips(path, read, count)
    finally:
        embeddings._encode = encode


def _tensors(data: Any) -> Any:
    """Return the inputs and labels of a data module."""
    data.setup()
    found = []
    for split in ("train", "val", "test"):
        dataset = data.dataset(split)
        found += [dataset[row] for row in range(len(dataset))]
    return found


_ORACLE = "The values read from the whole file are compared bit by bit with the values read from the damaged file."
ROWS = [
    Row(
        "flips_checkpoints",
        "A damaged checkpoint is refused by name, or the damage lies in a byte that no value depends on.",
        f"Single bits flipped at 300 random places in each of last.ckpt and best.ckpt. {_ORACLE}",
        _checkpoints,
    ),
    Row(
        "flips_bundles",
        "A damaged model bundle is refused by name.",
        "The same in model.json, weights.safetensors and estimator.skops, each with predictions of ten rows.",
        _bundles,
    ),
    Row(
        "flips_run_files",
        "Damaged predictions and splits of a run are refused by name, or read as they were written.",
        "The same in predictions.npz and split.json.gz.",
        _run_files,
    ),
    Row(
        "flips_inputs",
        "A damaged npz file of yours is refused by name, or read as it was written.",
        "The same in a plain and in a compressed npz file, read for training and for prediction.",
        _inputs,
    ),
    Row(
        "flips_caches",
        "A damaged cache is refused by name, or made again with a warning, or read as it was written.",
        "The same in the cache of images, its checksums, the hashes of the pictures and the cache of embeddings.",
        _caches,
    ),
]
