"""Bundles of picture and sentence runs predict the test rows as their runs did, and refuse other inputs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from dir.bundle import BundleError, RowsError, load
from dir.data.stsb import read_stsb
from dir.data.synthetic.faces import draw_faces

Run = Callable[..., Path]


def predictions_of(run: Path) -> np.ndarray:
    with np.load(run / "predictions.npz", allow_pickle=False) as arrays:
        return arrays["prediction"]


def test_arrays_of_pictures(image_run: Path, image_arrays: dict[str, np.ndarray]) -> None:
    model = load(image_run)
    pictures = image_arrays["images"][image_arrays["split"] == 2]
    np.testing.assert_array_equal(model.predict(pictures), predictions_of(image_run))
    np.testing.assert_array_equal(model.predict(pictures[..., None]), predictions_of(image_run))
    for wrong in (
        pictures.astype(np.float32),
        pictures[:, :8],
        pictures[:, None],
        np.zeros((2, 12, 10, 3), np.uint8),
    ):
        with pytest.raises(ValueError, match=r"inputs.*uint8"):
            model.predict(wrong)


def test_files_of_pictures_equal_the_array_and_broken_files_are_named(
    image_run: Path, image_arrays: dict[str, np.ndarray], tmp_path: Path
) -> None:
    model = load(image_run)
    pictures = image_arrays["images"][image_arrays["split"] == 2][:5]
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    for path, picture in zip(paths, pictures, strict=True):
        Image.fromarray(picture).save(path)
    np.testing.assert_array_equal(model.predict(paths), model.predict(pictures))
    paths[1].write_bytes(paths[1].read_bytes()[:60])
    paths[2].unlink()
    Image.new("L", (10, 9)).save(paths[3])
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(RowsError, match="4 of 6 rows") as caught:
        model.predict([*paths, tmp_path / "pipe.png"], batch_size=2)
    assert list(caught.value.problems) == [1, 2, 3, 5]
    assert "no such file" in caught.value.problems[2]
    assert "got 9 x 10" in caught.value.problems[3]
    found = model.predict(paths, on_error="nan", batch_size=2)
    assert np.isnan(found).tolist() == [False, True, True, True, False]


def test_a_picture_of_too_many_pixels_is_refused_unread(
    image_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dir.bundle.inputs.images.MAX_PIXELS", 100)
    Image.new("L", (10, 12)).save(tmp_path / "a.png")
    with pytest.raises(RowsError, match="at most 100 pixels, got 10 x 12"):
        load(image_run).predict([tmp_path / "a.png"])


def test_photographs_of_a_csv_are_resized_as_in_training(run_once: Run, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = []
    for number, split in enumerate(np.repeat(["train", "val", "test"], [30, 8, 8])):
        image = Image.fromarray(random.integers(0, 255, (20 + number % 5, 30, 3)).astype(np.uint8))
        image.save(tmp_path / f"{number}.png")
        rows.append({"age": 20 + number, "path": f"{number}.png", "split": split})
    table = pd.DataFrame(rows)
    table.to_csv(tmp_path / "ages.csv", index=False)
    run = run_once(
        "+experiment=agedb",
        f"data.csv={tmp_path / 'ages.csv'}",
        f"data.path={tmp_path}",
        "data.image_size=16",
        "data.padding=2",
        "data.num_workers=0",
        "model=conv",
    )
    paths = [tmp_path / name for name in table[table["split"] == "test"]["path"]]
    np.testing.assert_array_equal(load(run).predict(paths), predictions_of(run))
    arrays = np.stack(
        [np.asarray(Image.open(tmp_path / f"{n}.png").convert("RGB").resize((30, 20))) for n in (38, 39)]
    )
    assert load(run).predict(arrays).shape == (2,)


def test_drawn_faces(run_once: Run) -> None:
    run = run_once("+experiment=age_synthetic", "data.limit=20")
    with np.load(run / "predictions.npz", allow_pickle=False) as arrays:
        ages = torch.from_numpy(arrays["label"]).float()
    faces = draw_faces(ages, 12208 + 2140 + torch.arange(20)).permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(load(run).predict(faces), predictions_of(run))


def test_pairs_of_generated_sentences(run_once: Run) -> None:
    from dir.data.synthetic.sentences import vocabulary, write_pair
    from dir.data.synthetic.sts_synthetic import STSSyntheticData

    run = run_once("+experiment=sts_synthetic", "data.limit=20")
    data = STSSyntheticData(limit=20)
    data.setup()
    words = {number: word for word, number in vocabulary().items()}
    first, second = data.dataset("test").inputs
    pairs = [
        tuple(" ".join(words[int(i)] for i in row if i) for row in pair) for pair in zip(first, second, strict=True)
    ]
    model = load(run)
    np.testing.assert_array_equal(model.predict(pairs), predictions_of(run))
    a, b, _ = write_pair(3.0, np.random.default_rng(0))
    with pytest.raises(RowsError, match=r"row 2: .*zebra"):
        model.predict([(a, b), (a, "the zebra")])
    with pytest.raises(RowsError, match=r"row 1: .*None"):
        model.predict([(a, None)])


def test_pairs_of_embeddings(embedding_run: Path, pairs_folder: Path, sentence_encoder: Path, tmp_path: Path) -> None:
    test = read_stsb(pairs_folder / "test_new.tsv")
    pairs = list(zip(test.first, test.second, strict=True))
    model = load(embedding_run, text_encoder=sentence_encoder)
    np.testing.assert_allclose(model.predict(pairs), predictions_of(embedding_run), rtol=1e-5, atol=1e-6)
    with pytest.raises(BundleError, match="text_encoder"):
        load(embedding_run).predict(pairs)
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text("{}")
    with pytest.raises(BundleError, match="sha256"):
        load(embedding_run, text_encoder=other).predict(pairs)


def test_pairs_of_tokens_with_a_trained_transformer(
    run_once: Run, pairs_folder: Path, sentence_encoder: Path
) -> None:
    run = run_once(
        "+experiment=stsb_minilm_finetune",
        f"data.path={pairs_folder}",
        f"data.encoder={sentence_encoder}",
        "task.shots.groups=null",
    )
    test = read_stsb(pairs_folder / "test_new.tsv")
    frame = pd.DataFrame({"sentence1": test.first, "sentence2": test.second})
    np.testing.assert_allclose(load(run).predict(frame), predictions_of(run), rtol=1e-5, atol=1e-6)


def test_pairs_of_words_with_frozen_vectors(run_once: Run, pairs_folder: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    words = ["a", "cat", "two", "dogs", "tall", "word", "five", "."]
    glove = tmp_path / "glove.txt"
    glove.write_text("".join(f"{word} {' '.join(f'{x:.4f}' for x in random.normal(size=6))}\n" for word in words))
    run = run_once(
        "+experiment=stsb_glove",
        f"data.path={pairs_folder}",
        f"data.glove={glove}",
        "model=bilstm",
        "model.encoder.hidden=8",
        "task.shots.groups=null",
    )
    test = read_stsb(pairs_folder / "test_new.tsv")
    model = load(run)
    pairs = list(zip(test.first, test.second, strict=True))
    np.testing.assert_allclose(model.predict(pairs), predictions_of(run), rtol=1e-5, atol=1e-6)
    # A word without a vector takes the number of unknown words.
    assert np.isfinite(model.predict([("a zebra", "a cat")])).all()
