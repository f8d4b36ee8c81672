"""Exports of a table, a picture and an embedding model: onnxruntime and torch.export predict as the bundle does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from dir.bundle import Model, export, load

onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra `export`")

Run = Callable[..., Path]
Feeds = dict[str, np.ndarray]


def predict_onnx(path: Path, feeds: Feeds) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, feeds)[0]


def check(model: Model, tmp_path: Path, feeds: Feeds, expected: np.ndarray) -> None:
    names = export(model, tmp_path / "model.onnx")
    assert names == list(feeds)
    # A steep piece of an isotonic correction magnifies the rounding of float32.
    atol = 1e-5 * max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(predict_onnx(tmp_path / "model.onnx", feeds), expected, rtol=0, atol=atol)
    # The batch is dynamic.
    one = {name: array[:1] for name, array in feeds.items()}
    np.testing.assert_allclose(predict_onnx(tmp_path / "model.onnx", one), expected[:1], rtol=0, atol=atol)
    export(model, tmp_path / "model.pt2", format="torch_export")
    program = torch.export.load(tmp_path / "model.pt2").module()
    with torch.no_grad():
        found = program(*(torch.from_numpy(array) for array in feeds.values()))
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=atol)


@pytest.mark.parametrize("method", ["vanilla", "isotonic", "affine"])
def test_a_table(table_run: Run, table_files: tuple[Path, Path], tmp_path: Path, method: str) -> None:
    model = load(table_run(f"method={method}"))
    test = pd.read_csv(table_files[1])
    kinds = ["a", "b", "c"]
    codes = np.array(
        [[kinds.index(kind), floor - 1] for kind, floor in zip(test["kind"], test["floor"], strict=True)]
    )
    feeds = {"numbers": test[["u", "v"]].to_numpy(np.float64), "codes": codes.astype(np.int64)}
    check(model, tmp_path, feeds, model.predict(test))


def test_pictures(image_run: Path, image_arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    model = load(image_run)
    pictures = image_arrays["images"][image_arrays["split"] == 2]
    check(model, tmp_path, {"images": pictures[..., None]}, model.predict(pictures))


def test_pairs_of_embeddings(embedding_run: Path, tmp_path: Path) -> None:
    model = load(embedding_run)
    assert model.module is not None
    width = model.module.regressor.encoder.in_features
    first, second = np.random.default_rng(0).normal(size=(2, 7, width)).astype(np.float32)
    with torch.no_grad():
        expected = model.module((torch.from_numpy(first), torch.from_numpy(second))).numpy()
    check(model, tmp_path, {"first": first, "second": second}, expected)


def test_a_scikit_learn_model_is_refused(table_run: Run, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="scikit-learn"):
        export(load(table_run("method=bagging")), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []
