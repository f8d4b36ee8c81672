"""Small runs of the engine that leave a bundle, one for each kind of data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hydra import compose, initialize_config_dir

from dir.recipe.cli import config_dir, register_configs
from dir.recipe.run_folder import RunFolder
from dir.recipe.train import train

Run = Callable[..., Path]


@pytest.fixture(scope="session")
def run_once(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """`run_once("+experiment=tabular", ...)` -> the folder of a finished run of one or two epochs; cached."""
    register_configs()
    done: dict[tuple[str, ...], Path] = {}

    def run(*overrides: str) -> Path:
        if overrides not in done:
            with initialize_config_dir(config_dir(), version_base="1.3"):
                fixed = ["trainer.max_epochs=2", "trainer.accelerator=cpu", "logger=none"]
                cfg = compose("train", [*fixed, *overrides])
            path = tmp_path_factory.mktemp("run") / "seed_0"
            train(cfg, RunFolder(path), {"method": "test"})
            done[overrides] = path
        return done[overrides]

    return run


def houses(rows: int, seed: int = 0) -> pd.DataFrame:
    """A table with two categories (one of them numbers), two numbers and an identity that is no feature."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, 2))
    kind = random.choice(["a", "b", "c"], rows)
    floor = random.choice([1, 2, 3], rows)
    price = 100 * np.exp(x[:, 0]) + 50 * (kind == "b") + 10 * floor + random.normal(size=rows)
    return pd.DataFrame(
        {"id": np.arange(rows), "kind": kind, "floor": floor, "u": x[:, 0], "v": 1e6 * x[:, 1], "price": price}
    )


@pytest.fixture(scope="session")
def table_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A csv with rows to train on and one with test rows."""
    folder = tmp_path_factory.mktemp("tables")
    houses(300).to_csv(folder / "train.csv", index=False)
    houses(40, seed=1).to_csv(folder / "test.csv", index=False)
    return folder / "train.csv", folder / "test.csv"


@pytest.fixture(scope="session")
def table_run(run_once: Run, table_files: tuple[Path, Path]) -> Run:
    """`table_run("method=lds")` -> a run on the table whose test rows are those of test.csv."""
    train_csv, test_csv = table_files

    def run(*overrides: str) -> Path:
        return run_once(
            "+experiment=tabular",
            f"data.path={train_csv}",
            f"data.test_path={test_csv}",
            "data.target=price",
            "data.drop=[id]",
            "data.categorical=[kind,floor]",
            *overrides,
        )

    return run


@pytest.fixture(scope="session")
def image_arrays() -> dict[str, np.ndarray]:
    """Grey pictures of 12 x 10 with a bar whose place is the label."""
    random = np.random.default_rng(0)
    label = random.integers(0, 10, 120)
    images = random.integers(0, 40, (120, 12, 10)).astype(np.uint8)
    images[np.arange(120), :, label] = 255
    return {"images": images, "place": label.astype(np.float64), "split": np.repeat([0, 1, 2], [80, 20, 20])}


@pytest.fixture(scope="session")
def image_run(run_once: Run, image_arrays: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on an npz file of pictures."""
    path = tmp_path_factory.mktemp("npz") / "bars.npz"
    np.savez(path, **image_arrays)
    return run_once("+experiment=images_npz", f"data.path={path}", "data.label=place")


SENTENCES = ["a cat.", "two dogs", "a tall word", "five cat two dogs", "dogs", 'a "word" five', "tall tall cat"]


@pytest.fixture(scope="session")
def pairs_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three files of STS-B-DIR with a few pairs."""
    folder = tmp_path_factory.mktemp("sts")
    random = np.random.default_rng(0)
    for name, rows in (("train_new", 60), ("dev_new", 20), ("test_new", 20)):
        lines = ["genre\tsentence1\tsentence2\tscore"]
        for _ in range(rows):
            first, second = random.choice(SENTENCES, 2)
            lines.append(f"news\t{first}\t{second}\t{random.uniform(0, 5):.2f}")
        (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def sentence_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A transformer of a few thousand random weights, saved as a folder like a pretrained encoder."""
    transformers = pytest.importorskip("transformers", reason="needs the extra `recipes`")
    folder = tmp_path_factory.mktemp("encoder")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat", "two", "dogs", "tall", "word", "five", "."]
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(words),
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
    )
    transformers.BertModel(config).save_pretrained(folder)
    # By position: transformers 5 ignores vocab_file=, and every word would be unknown.
    transformers.BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def embedding_run(run_once: Run, pairs_folder: Path, sentence_encoder: Path) -> Path:
    """A run on pairs of embeddings by a frozen encoder."""
    views = "data.views=[[mean,-1],[max,-1]]"
    return run_once(
        "+experiment=stsb_minilm",
        f"data.path={pairs_folder}",
        f"data.encoder={sentence_encoder}",
        "data.cache_dir=null",
        "task.shots.groups=null",
        views,
    )


@pytest.fixture
def pyfunc_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Any]:
    """Return a function that loads the bundle of a run as a pyfunc model of MLflow."""
    mlflow = pytest.importorskip("mlflow", reason="needs the extra mlflow")
    from dir.bundle.pyfunc import save_pyfunc

    monkeypatch.chdir(tmp_path)

    def loaded(run: Path) -> Any:
        save_pyfunc(run / "model", tmp_path / "pyfunc")
        model = mlflow.pyfunc.load_model(str(tmp_path / "pyfunc"))
        # MLflow checks types and shapes against the signature.
        assert np.isfinite(model.predict(model.input_example)).all()
        return model

    return loaded
