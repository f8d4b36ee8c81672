"""histogram_prior with the parts of other methods: each does its work, or is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from scipy import stats

from dir.recipe.build import build
from dir.recipe.cli import config_dir
from dir.recipe.compatibility import check
from dir.recipe.evaluate import load_weights
from dir.recipe.parts import Parts
from dir.recipe.run_folder import RunFolder
from dir.recipe.train import train

Tiny = Callable[..., DictConfig]
SHORT = ("trainer.max_epochs=1", "logger=none", "method.cells.num_cells=40", "method.cells.sigma=1.0")


def with_part(tiny: Tiny, method: str, part: str, *overrides: str) -> DictConfig:
    """Config of histogram_prior with one part of another method."""
    cfg = tiny("method=histogram_prior", *SHORT, *overrides)
    cfg.method[part] = tiny(f"method={method}").method[part]
    return cfg


def soft(parts: Parts, target: torch.Tensor) -> np.ndarray:
    """Soft histograms of targets by SciPy: the mass of a normal distribution in each cell, in units of the cells."""
    edges = parts.module.model.head.cells.edges.numpy()
    position = np.interp(target.detach().double().numpy(), edges, np.arange(len(edges)))
    mass = np.diff(stats.norm.cdf(np.arange(len(edges))[None, :], position[:, None], 1.0), axis=1)
    return mass / mass.sum(axis=1, keepdims=True)


def density_of(parts: Parts, labels: torch.Tensor) -> np.ndarray:
    """Density of the cells with its floor of 30 samples, by SciPy."""
    floor = 30 / len(labels)
    return (soft(parts, parts.module.to_target(labels)).mean(axis=0) + floor / 40) / (1 + floor)


def a_step(parts: Parts) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Loss of a training step without dropout, with the features and the labels of its batch."""
    module = parts.module.train()
    module.log = lambda *_, **__: None
    module.model.encoder.eval()
    inputs, labels = next(iter(parts.data.train_dataloader()))
    torch.manual_seed(5)
    return module.training_step((inputs, labels), 0), inputs, labels


def cross_entropy(parts: Parts, logits: torch.Tensor, target: torch.Tensor) -> np.ndarray:
    log_p = logits.detach().double().log_softmax(dim=1).numpy()
    return -(soft(parts, target) * log_p).sum(axis=1)


def run(cfg: DictConfig, path: Path) -> dict[str, Any]:
    folder = RunFolder(path)
    train(cfg, folder, {"method": "test"})
    content: dict[str, Any] = json.loads(folder.metrics.read_text(encoding="utf-8"))
    return content


def test_lds_weights_multiply_the_loss_and_leave_the_density(tiny: Tiny, tmp_path: Path) -> None:
    parts = build(tiny("method=prior_lds", *SHORT))
    loss, inputs, labels = a_step(parts)
    weight = parts.module.lds(labels).double().numpy()
    assert weight.std() > 0.1
    each = cross_entropy(
        parts, parts.module.model.head(parts.module.model.encoder(inputs)), parts.module.to_target(labels)
    )
    assert loss.item() == pytest.approx((weight * each).mean(), rel=1e-5)
    density = parts.module.model.head.prior.log_density.exp()
    np.testing.assert_allclose(density, density_of(parts, parts.data.labels("train")), rtol=1e-5)
    assert "power" in run(tiny("method=prior_lds", *SHORT), tmp_path / "run")["run"]


def test_fds_calibrates_the_features_of_the_head(tiny: Tiny, tmp_path: Path) -> None:
    cfg = with_part(tiny, "fds", "fds", "trainer.max_epochs=3")
    assert "power" in run(cfg, tmp_path / "run")["run"]
    parts = build(cfg)
    load_weights(parts.module, tmp_path / "run/checkpoints/last.ckpt")
    loss, inputs, labels = a_step(parts)
    model = parts.module.model
    plain = model.encoder(inputs)
    calibrated = model.fds(plain, labels)
    assert not torch.allclose(plain, calibrated)
    each = cross_entropy(parts, model.head(calibrated), parts.module.to_target(labels))
    assert loss.item() == pytest.approx(each.mean(), rel=1e-5)


def test_mixup_gives_the_soft_target_of_the_mixed_label(tiny: Tiny, tmp_path: Path) -> None:
    cfg = with_part(tiny, "c_mixup", "mixup")
    parts = build(cfg)
    mixed: list[torch.Tensor] = []
    parts.module.mixup.register_forward_hook(lambda module, given, result: mixed.extend(result))
    loss, _, labels = a_step(parts)
    inputs, target = mixed
    assert not torch.allclose(target, parts.module.to_target(labels))
    each = cross_entropy(parts, parts.module.model.head(parts.module.model.encoder(inputs)), target)
    assert loss.item() == pytest.approx(each.mean(), rel=1e-5)
    assert "power" in run(cfg, tmp_path / "run")["run"]


def test_a_resampler_changes_the_density_to_that_of_the_resampled_rows(tiny: Tiny, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=300)
    pd.DataFrame({"x": x, "y": np.exp(x) + 0.1 * random.normal(size=300)}).to_csv(tmp_path / "x.csv", index=False)
    fixed = [f"data.path={tmp_path / 'x.csv'}", "data.target=y", "trainer.accelerator=cpu", *SHORT]

    def table(method: str) -> DictConfig:
        extra = fixed if method == "histogram_prior" else fixed[:3]
        with initialize_config_dir(config_dir(), version_base="1.3"):
            return compose("train", ["+experiment=tabular", f"method={method}", *extra])

    cfg = table("histogram_prior")
    raw = build(cfg).data.labels("train")
    cfg.method.resample = table("random_over").method.resample
    parts = build(cfg)
    resampled = parts.data.labels("train")
    assert len(resampled) > len(raw)
    density = parts.module.model.head.prior.log_density.exp()
    np.testing.assert_allclose(density, density_of(parts, resampled), rtol=1e-4)
    assert not np.allclose(density, density_of(parts, raw), rtol=0.05)
    assert "power" in run(cfg, tmp_path / "run")["run"]


def test_two_stages_choose_a_power_each_and_keep_the_encoder(tiny: Tiny, tmp_path: Path) -> None:
    cfg = with_part(tiny, "rrt_lds", "retrain", "trainer.max_epochs=2")
    cfg.method.lds = tiny("method=lds").method.lds
    content = run(cfg, tmp_path / "run")
    first = json.loads((tmp_path / "run/stage_1/metrics.json").read_text(encoding="utf-8"))
    for stage in (content, first):
        power = stage["run"]["power"]
        assert power["tried"][f"{power['value']:g}"] == min(power["tried"].values())
    states = [
        torch.load(tmp_path / "run" / stage / "checkpoints/best.ckpt", weights_only=True)["state_dict"]
        for stage in ("stage_1", "")
    ]
    for name, value in states[0].items():
        if name.startswith("model.encoder."):
            assert torch.equal(value, states[1][name])
    assert not torch.equal(states[0]["model.head.linear.weight"], states[1]["model.head.linear.weight"])


def test_parts_that_contradict_the_prior_are_refused_by_name(tiny: Tiny) -> None:
    with pytest.raises(ValueError, match=r"method\.output_fds.*got \[40\]"):
        build(with_part(tiny, "label_shrink", "output_fds"))
    with pytest.raises(ValueError, match=r"method\.posthoc.*isotonic"):
        build(tiny("method=histogram_prior", "method.posthoc=isotonic", *SHORT))
    with pytest.raises(ValueError, match=r"method\.lds"):
        build(with_part(tiny, "lds", "lds", "method.loss_power=1"))
    with pytest.raises(ValueError, match=r"method\.retrain.*method\.lds"):
        check(with_part(tiny, "rrt", "retrain"))
