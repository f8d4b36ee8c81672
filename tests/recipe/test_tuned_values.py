"""The settings of the methods for each experiment: the values behind the committed results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from dir.recipe.cli import config_dir, register_configs

AGE: dict[str, Any] = {
    "target_offset": 0.0,
    "target_scale": 1.0,
    "loss": {"_target_": "dir.losses.WeightedL1"},
    "focal": {"base": "l1", "activation": "sigmoid", "beta": 0.2, "gamma": 1.0},
    "huber_beta": 1.0,
    "inverse_clip": [5, 1000],
    "lds": {"reweight": "sqrt_inverse", "kernel_size": 5, "sigma": 2.0, "padding": "constant"},
    "fds": {"kernel_size": 5, "sigma": 2.0, "ratio_clip": [0.1, 10.0]},
    "shrink": {"sigma": 10.0, "tau": 20.0},
    "mixup": {"bandwidth": 5.0},
    "balanced_mse": {"sigma": 10.0},
    "dist": {"base": "l1", "alignment": 1.0},
    "uvote": {"noise": "laplace"},
    "ranksim": {"weight": 100.0},
    "conr": {"weight": 4.0, "window": 1.0, "push": 0.01},
    "rnc": {"weight": 1.0},
    "ordinal_entropy": {"weight": 0.1},
    "srl": {"weight": 0.1},
}
SIMILARITY: dict[str, Any] = {
    "target_offset": 0.0,
    "target_scale": 5.0,
    "loss": {"_target_": "dir.losses.WeightedMSE"},
    "focal": {"base": "mse", "activation": "sigmoid", "beta": 20.0, "gamma": 1.0},
    "huber_beta": 0.5,
    "inverse_clip": None,
    "lds": {"reweight": "inverse", "kernel_size": 5, "sigma": 2.0, "padding": "constant"},
    "fds": {"kernel_size": 5, "sigma": 2.0, "ratio_clip": [0.5, 2.0]},
    "shrink": {"sigma": 10.0, "tau": 20.0},
    "mixup": {"bandwidth": 0.1},
    "balanced_mse": {"sigma": 0.07},
    "dist": {"base": "mse", "alignment": 0.1},
    "uvote": {"noise": "gaussian"},
    "ranksim": {"weight": 1.0e-3},
    "conr": {"weight": 3.0e-4, "window": 0.02, "push": 1.0},
    "rnc": {"weight": 0.01},
    "ordinal_entropy": {"weight": 3.0e-3},
    "srl": {"weight": 3.0e-4},
}
TABLE: dict[str, Any] = {
    "target_offset": None,
    "target_scale": None,
    "loss": {"_target_": "dir.losses.WeightedMSE"},
    "focal": {"base": "mse", "activation": "sigmoid", "beta": 3.0, "gamma": 1.0},
    "huber_beta": 0.5,
    "inverse_clip": None,
    "lds": {"reweight": "sqrt_inverse", "kernel_size": 5, "sigma": 1.0, "padding": "constant"},
    "fds": {"kernel_size": 5, "sigma": 2.0, "ratio_clip": [0.1, 10.0]},
    "shrink": {"sigma": 2.0, "tau": 20.0},
    "mixup": {"bandwidth": 0.5},
    "balanced_mse": {"sigma": 0.3},
    "dist": {"base": "mse", "alignment": 1.0},
    "uvote": {"noise": "gaussian"},
    "ranksim": {"weight": 0.1},
    "conr": {"weight": 0.3, "window": 0.1, "push": 0.3},
    "rnc": {"weight": 3.0},
    "ordinal_entropy": {"weight": 0.001},
    "srl": {"weight": 0.1},
}
IMAGES: dict[str, Any] = TABLE | {
    "loss": {"_target_": "dir.losses.WeightedL1"},
    "focal": {"base": "l1", "activation": "sigmoid", "beta": 3.0, "gamma": 1.0},
    "lds": {"reweight": "sqrt_inverse", "kernel_size": 15, "sigma": 5.0, "padding": "constant"},
    "shrink": {"sigma": 5.0, "tau": 30.0},
    "balanced_mse": {"sigma": 0.4},
    "dist": {"base": "l1", "alignment": 1.0},
    "uvote": {"noise": "laplace"},
    "ranksim": {"weight": 3.0e-3},
    "conr": {"weight": 0.1, "window": 0.1, "push": 0.3},
    "rnc": {"weight": 0.03},
    "ordinal_entropy": {"weight": 0.03},
    "srl": {"weight": 0.03},
}
# The defaults of dir/recipe/schema.py: nothing was tuned for texts.
TEXT = TABLE | {
    "lds": {"reweight": "sqrt_inverse", "kernel_size": 5, "sigma": 2.0, "padding": "constant"},
    "shrink": {"sigma": 5.0, "tau": 20.0},
    "rnc": {"weight": 0.1},
    "ordinal_entropy": {"weight": 0.01},
}
# The same for maps.
DENSE = TEXT | {"loss": {"_target_": "dir.losses.WeightedL1"}, "focal": IMAGES["focal"], "dist": IMAGES["dist"]}
DENSE |= {"uvote": IMAGES["uvote"]}
# Depth in metres: what the published program of NYUD2-DIR has; the rest are the same defaults.
NYUD2 = DENSE | {
    "target_offset": 0.0,
    "target_scale": 1.0,
    "loss": TABLE["loss"],
    "focal": TABLE["focal"],
    "dist": TABLE["dist"],
    "uvote": TABLE["uvote"],
    "lds": {"reweight": "inverse", "kernel_size": 5, "sigma": 2.0, "padding": "symmetric"},
    "fds": {"kernel_size": 5, "sigma": 2.0, "ratio_clip": [0.2, 5.0]},
}
EXPECTED = {
    "age_synthetic": AGE | {"target_offset": 45.0, "shrink": {"sigma": 10.0, "tau": 10.0}},
    "agedb": AGE,
    "imdb_wiki": AGE,
    "dense": DENSE,
    "images": IMAGES,
    "nyud2": NYUD2,
    "images_npz": IMAGES,
    "sts_synthetic": SIMILARITY,
    "stsb_glove": SIMILARITY,
    "stsb_minilm": SIMILARITY
    | {
        "lds": {"reweight": "sqrt_inverse", "kernel_size": 5, "sigma": 2.0, "padding": "constant"},
        "shrink": {"sigma": 5.0, "tau": 20.0},
    },
    "stsb_minilm_finetune": SIMILARITY,
    "tabular": TABLE,
    "text": TEXT,
    "text_finetune": TEXT,
}
GIVEN = {
    "images": ["data.csv=x.csv", "data.target=y"],
    "text": ["data.path=x.tsv", "data.text=a", "data.target=y"],
    "text_finetune": ["data.path=x.tsv", "data.text=a", "data.target=y"],
    "tabular": ["data.path=x.csv", "data.target=y"],
    "images_npz": ["data.path=x.npz", "data.label=y"],
    "dense": ["data.path=x.npz", "data.label=y"],
}


def task(experiment: str) -> dict[str, Any]:
    register_configs()
    with initialize_config_dir(config_dir(), version_base="1.3"):
        cfg = compose("train", [f"+experiment={experiment}", *GIVEN.get(experiment, [])])
    content: Any = OmegaConf.to_container(cfg.task, resolve=True, throw_on_missing=True)
    return dict(content)


@pytest.mark.parametrize("experiment", sorted(EXPECTED))
def test_an_experiment_has_the_settings_behind_its_committed_results(experiment: str) -> None:
    found = task(experiment)
    assert {key: found[key] for key in EXPECTED[experiment]} == EXPECTED[experiment]
    described = {"unit", "monitor", "family", "bins", "fds_bins", "shots"}
    assert set(found) == {*EXPECTED[experiment], *described}


def test_every_experiment_is_listed() -> None:
    assert {path.stem for path in (Path(config_dir()) / "experiment").glob("*.yaml")} == set(EXPECTED)
