"""The recipe nyud2 on generated pictures in the published layout: train, evaluate, resume, predict."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from scipy.ndimage import gaussian_filter1d
from torchvision.models import resnet18

from dir.bundle.architecture import build as build_network
from dir.bundle.architecture import describe, state
from dir.bundle.cli import predict_main
from dir.bundle.fields import Fields
from dir.models import ResNetMapEncoder
from dir.recipe.build import build
from dir.recipe.cli import config_dir, register_configs
from dir.recipe.evaluate import evaluate_checkpoint
from dir.recipe.module import RegressionModule
from dir.recipe.run_folder import RunFolder
from dir.recipe.train import train


def config(folder: Path, *overrides: str) -> DictConfig:
    register_configs()
    quick = ["trainer.accelerator=cpu", "trainer.enable_progress_bar=false", "logger=none", "trainer.max_epochs=2"]
    small = ["data.image_size=[36,44]", "data.crop=[32,40]", "data.map_size=[16,20]", "data.batch_size=8"]
    weights = ["model.name=resnet18", "model.pretrained=false", f"model.weights={folder / 'resnet18.pth'}"]
    start = [
        "+experiment=nyud2",
        f"data.path={folder}",
        "data.num_workers=0",
        "data.test_mask=null",
        "data.share=0.2",
    ]
    network = [] if "model=unet" in overrides else weights
    with initialize_config_dir(config_dir(), version_base="1.3"):
        return compose("train", [*start, *quick, *small, *network, *overrides])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, nyud2_files: Callable[..., Path]) -> Path:
    path = nyud2_files(tmp_path_factory.mktemp("nyud2"), size=(36, 44))
    torch.manual_seed(0)
    torch.save(resnet18().state_dict(), path / "resnet18.pth")
    return path


def test_the_parts_are_those_of_the_published_recipe(folder: Path) -> None:
    parts = build(config(folder, "method=lds_fds"))
    module, labels = parts.module, parts.data.labels("train")
    assert (float(module.target_offset), float(module.target_scale)) == (0.0, 1.0)  # the loss is in metres
    assert type(module.criterion).__name__ == "WeightedMSE"
    counts = np.histogram(labels.numpy().clip(0.7), np.append(np.arange(7, 100) / 10, 10.0).astype(np.float32))[0]
    window = gaussian_filter1d([0.0, 0.0, 1.0, 0.0, 0.0], sigma=2)  # of the published code
    window /= window.max()
    smooth = np.convolve(np.pad(counts, 2, mode="symmetric"), window, mode="valid")
    weights = np.divide(1, smooth, where=smooth > 0, out=np.zeros(93))
    weights *= counts.sum() / (counts * weights).sum()
    assert module.lds is not None
    found = module.lds.weights.numpy()  # type: ignore[union-attr]
    np.testing.assert_allclose(found[counts > 0], weights[counts > 0], rtol=1e-4)
    fds: Any = module.model.fds
    assert (fds.bins.num_bins, tuple(fds.ratio_clip)) == (93, (0.2, 5.0))
    configured: Any = module.configure_optimizers()
    given, scheduler = configured["optimizer"], configured["lr_scheduler"]
    rates = []
    for _ in range(10):
        rates.append(given.param_groups[0]["lr"])
        given.step()  # there are no gradients: nothing moves
        scheduler.step()
    assert rates == pytest.approx([1e-4] * 5 + [1e-5] * 5)
    assert (type(given).__name__, given.param_groups[0]["weight_decay"]) == ("Adam", 1e-4)


def test_a_killed_run_resumes_to_the_same_end_and_its_checkpoint_is_chosen_on_validation(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A small network: checkpoints of the residual network take seconds.
    small = ["model=unet", "model.encoder.widths=[4,8]"]
    cfg = config(folder, "method=lds_fds", "checkpoint_every_seconds=0", *small)
    whole, part = (RunFolder(tmp_path / name) for name in ("whole", "part"))
    best = train(cfg, whole, {})
    content = json.loads(whole.metrics.read_text())
    assert best == pytest.approx(content["val"]["all"]["mse"])
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
    assert json.loads(part.metrics.read_text())["test"] == content["test"]
    assert evaluate_checkpoint(tmp_path / "whole", [])["test"] == content["test"]
    # Evaluated at the size of the crop, as the published program does: four times the pixels, nearly equal errors.
    fine = evaluate_checkpoint(tmp_path / "whole", ["data.map_size=[32,40]"])["test"]
    assert fine["all"]["n"] == 4 * content["test"]["all"]["n"]
    assert fine["all"]["rmse"] == pytest.approx(content["test"]["all"]["rmse"], rel=0.05)
    output = tmp_path / "maps.npz"
    predict_main([f"model={tmp_path / 'whole'}", f"input={folder / 'nyu2_test'}", f"output={output}"])
    with np.load(output) as file, np.load(tmp_path / "whole" / "predictions.npz") as saved:
        colours = [number for number, name in enumerate(file["path"]) if name.endswith("_colors.png")]
        maps = file["prediction"][colours].reshape(4, -1)
        np.testing.assert_allclose(maps[saved["map"], saved["pixel"]], saved["prediction"], rtol=1e-4, atol=1e-4)


def test_a_bundle_asks_for_no_file_of_pretrained_weights(folder: Path) -> None:
    parts = build(config(folder))
    encoder = parts.module.model.encoder
    assert isinstance(encoder, ResNetMapEncoder)
    assert torch.equal(encoder.stem[0].weight, torch.load(folder / "resnet18.pth", weights_only=True)["conv1.weight"])
    assert parts.architecture["encoder"]["weights"] == str(folder / "resnet18.pth")
    kept = describe(parts.architecture["encoder"], encoder)
    assert (kept["pretrained"], kept["weights"], kept["map_size"]) == (False, None, [16, 20])
    saved = {"encoder": kept, "head": parts.architecture["head"]}
    weights = state(parts.module.model)
    loaded = build_network(Fields(saved, "model.json", "architecture"), [parts.bins], weights)
    images = torch.rand(1, 3, 32, 40)
    with torch.no_grad():
        torch.testing.assert_close(loaded(images), parts.module.model.eval()(images))
