"""Runs on pictures and maps in files, and predictions for a folder of new pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from PIL import Image

from dir.bundle.cli import predict_main
from dir.recipe.cli import config_dir, register_configs
from dir.recipe.evaluate import evaluate_checkpoint
from dir.recipe.run_folder import RunFolder
from dir.recipe.train import train


def config(*overrides: str) -> DictConfig:
    register_configs()
    quick = ["trainer.accelerator=cpu", "trainer.enable_progress_bar=false", "logger=none", "trainer.max_epochs=1"]
    with initialize_config_dir(config_dir(), version_base="1.3"):
        return compose("train", ["+experiment=dense", *quick, *overrides])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures in four scenes, and maps of their brightness in 16 bits; 0 is a hole."""
    path = tmp_path_factory.mktemp("files")
    random = np.random.default_rng(0)
    for number in range(12):
        for kind in ("images", "maps"):
            (path / kind / f"s{number % 4}").mkdir(parents=True, exist_ok=True)
        value = (random.random((24, 32)) ** 3 * 250).astype(np.uint8)
        Image.fromarray(value).convert("RGB").save(path / f"images/s{number % 4}/{number}.png")
        Image.fromarray(value.astype(np.uint16) * 40).save(path / f"maps/s{number % 4}/{number}.png")
    return path


def test_a_run_on_folders_is_evaluated_again_and_predicts_maps_of_new_pictures(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    sizes = ["data.image_size=[12,16]", "data.crop=[8,12]", "data.map_size=[4,6]"]
    labels = ["data.scale=0.001", "data.hole=0", "data.by_folder=true", "data.share=0.25", "data.label=depth"]
    small = ["model.encoder.widths=[4,8]", "data.batch_size=4", "method=lds_fds", "data.flip=horizontal"]
    cfg = config("data=dense_files", f"data.path={folder}", *sizes, *labels, *small)
    train(cfg, RunFolder(run), {})
    content = json.loads((run / "metrics.json").read_text())
    assert evaluate_checkpoint(run, [])["test"] == content["test"]
    with np.load(run / "predictions.npz") as saved:
        predictions, place, number = saved["prediction"], saved["pixel"], saved["map"]
    assert content["test"]["all"]["n"] == len(predictions) <= 3 * 24
    predict_main([f"model={run}", f"input={folder / 'images'}", f"output={tmp_path / 'maps.npz'}"])
    with np.load(tmp_path / "maps.npz") as file:
        assert file["prediction"].shape == (12, 4, 6)
        maps = dict(zip(file["path"].tolist(), file["prediction"].reshape(12, -1), strict=True))
    # The pictures of one scene are the test split: one map each.
    for scene in range(4):
        names = sorted(name for name in maps if name.startswith(f"s{scene}/"))
        found = np.concatenate([maps[name][place[number == row]] for row, name in enumerate(names)])
        if np.allclose(found, predictions, rtol=1e-5, atol=1e-5):
            return
    raise AssertionError("no scene has the predictions of the test split")


def test_a_folder_in_place_of_an_npz_is_refused_with_the_right_setting(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"^data.path: expected an .npz file, got a folder.*data=dense_files"):
        train(config(f"data.path={folder}", "data.label=depth"), RunFolder(folder / "run"), {})
