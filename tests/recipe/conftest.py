"""Runs of the engine on data that trains in a blink."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from dir.recipe.cli import config_dir, register_resolvers

TINY = Path(__file__).parent / "tiny"


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Callable[..., DictConfig]:
    """Composes configs/train.yaml with the tiny data and model and further overrides."""
    monkeypatch.syspath_prepend(str(TINY))
    register_resolvers()

    def config(*overrides: str) -> DictConfig:
        with initialize_config_dir(config_dir(), version_base="1.3"):
            search = f"hydra.searchpath=[file://{TINY}]"
            fixed = ["data=tiny", "model=tiny", "name=tiny", "trainer.accelerator=cpu"]
            return compose("train", [search, *fixed, *overrides])

    return config
