"""Runs on maps: pixels are samples, holes are none, and methods that cannot work on pixels are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from benchmarks.persistence import persistence
from dir.bundle.cli import predict_main
from dir.data.npz_images import to_float
from dir.recipe.build import build
from dir.recipe.cli import config_dir, register_configs
from dir.recipe.evaluate import evaluate_checkpoint
from dir.recipe.module import RegressionModule
from dir.recipe.run_folder import RunFolder
from dir.recipe.train import train


def written(folder: Path, holes: bool = True) -> Path:
    """Write pictures whose brightness is the label, skewed, with holes where the label is absurd."""
    random = np.random.default_rng(0)
    value = (random.random((30, 12, 10)) ** 4 * 250).astype(np.uint8)
    depth = value / 10.0
    if holes:
        depth[random.random(depth.shape) < 0.2] = np.nan
    np.savez(folder / "maps.npz", images=value, depth=depth, split=np.arange(30) % 3)
    return folder / "maps.npz"


def config(path: Path, *overrides: str) -> DictConfig:
    register_configs()
    quick = ["trainer.max_epochs=2", "trainer.accelerator=cpu", "trainer.enable_progress_bar=false", "logger=none"]
    small = ["model.encoder.widths=[4,8]", "data.batch_size=4"]
    fixed = ["+experiment=dense", f"data.path={path}", "data.label=depth"]
    with initialize_config_dir(config_dir(), version_base="1.3"):
        return compose("train", [*fixed, *quick, *small, *overrides])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("maps")
    longer = ["trainer.max_epochs=15", "optimizer.lr=0.03", "data.batch_size=2"]
    train(config(written(folder), "method=lds_fds", *longer), RunFolder(folder / "run"), {})
    return folder / "run"


def test_metrics_and_files_of_a_run_count_labelled_pixels_alone(finished: Path) -> None:
    content = json.loads((finished / "metrics.json").read_text())
    with np.load(finished.parent / "maps.npz") as file:
        depth = file["depth"].astype(np.float32)
        maps = depth[file["split"] == 2]
    assert content["test"]["all"]["n"] == int((~np.isnan(maps)).sum())
    with np.load(finished / "predictions.npz") as saved:
        placed = np.full(maps.shape, np.nan, np.float32).reshape(len(maps), -1)
        placed[saved["map"], saved["pixel"]] = saved["label"]
        np.testing.assert_array_equal(placed.reshape(maps.shape), maps)
        error = np.abs(saved["prediction"].astype(np.float64) - saved["label"])
        assert content["test"]["all"]["mae"] == pytest.approx(error.mean())
        rmse, positive = content["test"]["all"]["rmse"], saved["label"] > 0
        assert rmse == pytest.approx(np.sqrt((error**2).mean()))
        relative = (error / saved["label"].clip(1e-9))[positive].mean()
        assert content["test"]["all"]["abs_rel"] == pytest.approx(relative, rel=1e-5)
        rare = saved["shot"] == "few"
        assert content["test"]["few"]["mae"] == pytest.approx(error[rare].mean())
        assert len(saved["map_id"]) == len(maps)
        # The label is the brightness of its pixel: better than the median of all labels by far.
        guess = np.abs(np.nanmedian(depth) - saved["label"]).mean()
    assert content["test"]["all"]["mae"] < 0.8 * guess


def test_a_run_is_evaluated_again_with_the_same_numbers(finished: Path) -> None:
    content = json.loads((finished / "metrics.json").read_text())
    assert evaluate_checkpoint(finished, [])["test"] == content["test"]


def test_weights_units_and_bins_are_those_of_the_labelled_training_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path)
    monkeypatch.setattr("dir.data.maps.CHUNK_PIXELS", 240)  # five chunks of two maps
    parts = build(config(path, "method=lds"))
    with np.load(path) as file:
        maps = file["depth"][file["split"] == 0].astype(np.float32)
    labels = maps[~np.isnan(maps)]
    assert float(parts.module.target_offset) == pytest.approx(labels.mean(dtype=np.float64))
    assert float(parts.module.target_scale) == pytest.approx(labels.std(dtype=np.float64, ddof=1))
    edges = np.linspace(labels.min(), labels.max(), 51)
    counts = np.histogram(labels, edges)[0]
    assert parts.counts.tolist() == counts.tolist()
    assert parts.module.lds is not None
    assert parts.module.lds.counts.tolist() == counts.tolist()  # type: ignore[union-attr]
    assert float(parts.module.lds(torch.from_numpy(labels)).mean()) == pytest.approx(1.0, rel=1e-4)


def test_a_hole_changes_nothing_in_training(tmp_path: Path) -> None:
    # Under the holes of one file lies NaN, under those of the other a number that the config names.
    path = written(tmp_path)
    with np.load(path) as file:
        content = {name: file[name] for name in file.files}
    (tmp_path / "other").mkdir()
    content["depth"] = np.nan_to_num(content["depth"], nan=999.0)
    np.savez(tmp_path / "other" / "maps.npz", **content)
    results = []
    for number, changed in enumerate(([], ["data.hole=999"])):
        file_path = tmp_path / ("other" if changed else "") / "maps.npz"
        folder = RunFolder(tmp_path / f"run{number}")
        train(config(file_path, "method=lds_fds", *changed), folder, {})
        results.append(json.loads(folder.metrics.read_text())["test"])
    assert results[0] == results[1]


def test_fds_sees_each_labelled_pixel_once_in_an_epoch(tmp_path: Path) -> None:
    parts = build(config(written(tmp_path), "method=fds"))
    fds = parts.module.model.fds
    assert fds is not None
    parts.module.train()
    for batch in parts.data.train_dataloader():
        parts.module.training_step(batch, 0)
    fds.end_epoch()
    assert fds.last_count.tolist() == parts.counts.tolist()


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (["method=bmc"], r"^method.loss: this method compares all pairs .* 480 pixels.*data.pixels=25 "),
        (["method=ranksim"], "^regularizer: this method compares all pairs"),
        (["+regularizer=ordinal_entropy"], "^regularizer: this method compares all pairs"),
        (["method=conr"], r"^method\.views"),
        (["method=c_mixup"], r"^method\.mixup"),
        (["method=histogram"], r"^method\.head: a run stores the distribution"),
        (["method=hist_gbdt"], "is not a table"),
        (["method=smoter"], "is not a table"),
        (["model=grid"], "does not take map_size.*unet or resnet_maps for maps"),
        (["+protocol=gaps", "protocol.gaps=[[1,2]]"], "single labels of a map cannot be left out"),
    ],
)
def test_a_method_that_cannot_work_on_pixels_is_refused_before_anything_is_written(
    tmp_path: Path, overrides: list[str], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dir.recipe.map_methods.MAX_PAIRED", 100)
    given: Any = [line for line in overrides if line != "model=grid"]
    path = written(tmp_path)
    cfg = config(path, *given)
    if given != overrides:
        cfg.model.encoder = {"_target_": "dir.models.GridEncoder"}
    with pytest.raises(ValueError, match=text):
        train(cfg, RunFolder(tmp_path / "run"), {})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("method", ["gai", "bmc", "rrt", "isotonic"])
def test_further_methods_train_on_pixels(tmp_path: Path, method: str) -> None:
    short = ["trainer.max_epochs=1", "data.pixels=50"]
    folder = RunFolder(tmp_path / "run")
    value = train(config(written(tmp_path), f"method={method}", *short), folder, {})
    assert np.isfinite(value)


def test_an_encoder_of_maps_is_refused_for_pictures_with_one_label(tmp_path: Path) -> None:
    register_configs()
    with np.load(written(tmp_path, holes=False)) as file:
        np.savez(tmp_path / "x.npz", images=file["images"], y=np.arange(30.0), split=file["split"])
    fixed = ["+experiment=images_npz", f"data.path={tmp_path / 'x.npz'}", "data.label=y", "model=unet"]
    with initialize_config_dir(config_dir(), version_base="1.3"):
        cfg = compose("train", fixed)
    with pytest.raises(ValueError, match=r"^model: dir.models.UNetEncoder needs map_size"):
        build(cfg)


def test_the_bundle_predicts_maps_from_a_file(finished: Path, tmp_path: Path) -> None:
    output = tmp_path / "maps.npz"
    source = finished.parent / "maps.npz"
    with pytest.raises(SystemExit, match=r"^output: the model predicts a map for each picture"):
        predict_main([f"model={finished}", f"input={source}", f"output={tmp_path / 'x.csv'}"])
    predict_main([f"model={finished}", f"input={source}", f"output={output}"])
    with np.load(output) as file, np.load(source) as data, np.load(finished / "predictions.npz") as saved:
        maps = file["prediction"][data["split"] == 2]
        assert file["prediction"].shape == (30, 12, 10)
        assert np.isfinite(maps).all()  # in holes too
        found = maps.reshape(len(maps), -1)[saved["map"], saved["pixel"]]
        np.testing.assert_allclose(found, saved["prediction"], rtol=1e-5, atol=1e-5)


def test_maps_of_another_file_are_refused_clearly(finished: Path) -> None:
    with pytest.raises(ValueError, match=r"^data.test_path: maps of another file are not evaluated"):
        evaluate_checkpoint(finished, [f"data.test_path={finished.parent / 'maps.npz'}"])


def test_a_module_is_loaded_from_a_checkpoint_of_maps(finished: Path) -> None:
    module = RegressionModule.load_from_checkpoint(finished / "checkpoints" / "best.ckpt").eval()
    with np.load(finished.parent / "maps.npz") as data, np.load(finished / "predictions.npz") as saved:
        images = to_float(torch.from_numpy(data["images"][data["split"] == 2])[:, None])
        expected, places = saved["prediction"][saved["map"] == 0], saved["pixel"][saved["map"] == 0]
    with torch.no_grad():
        predicted = module(images[:1]).numpy()
    np.testing.assert_allclose(predicted[places], expected, rtol=1e-5, atol=1e-5)


def test_a_killed_run_of_maps_resumes_to_the_same_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ["method=lds_fds", "data.flip=both", "data.pixels=40", "checkpoint_every_seconds=0"]
    cfg = config(written(tmp_path), *settings)
    whole, part = (RunFolder(tmp_path / name) for name in ("whole", "part"))
    train(cfg, whole, {})
    step = RegressionModule.training_step

    def killed(self: RegressionModule, batch: tuple[Any, ...], batch_idx: int) -> torch.Tensor:
        if self.current_epoch == 1:
            raise OSError("killed")
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(RegressionModule, "training_step", killed)
        with pytest.raises(OSError, match="killed"):
            train(cfg, part, {})
    cfg.resume = True
    train(cfg, part, {})
    results = [json.loads(folder.metrics.read_text())["test"] for folder in (whole, part)]
    assert results[0] == results[1]


def test_persistence_predicts_the_last_frame_with_the_groups_of_a_run(finished: Path) -> None:
    found = persistence(finished)["test"]
    with np.load(finished.parent / "maps.npz") as data:
        test = data["split"] == 2
        depth, frames = data["depth"][test].astype(np.float32), data["images"][test].astype(np.float32)
    error = np.abs(frames - depth)[~np.isnan(depth)]
    assert found["all"]["mae"] == pytest.approx(float(error.mean()))
    run = json.loads((finished / "metrics.json").read_text())["test"]
    assert {name: group["n"] for name, group in found.items()} == {name: run[name]["n"] for name in found}
