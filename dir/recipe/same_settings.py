"""Comparison of a run's settings with those of the interrupted run in its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from dir._checks import message
from dir.recipe.targets import read_config

# A resumed run may change these settings: the paths of its files, its placement and its display.
MAY_CHANGE = {
    "resume",
    "best",
    "checkpoint_every_seconds",
    "figures",
    "logger",
    "data.path",
    "data.csv",
    "data.glove",
    "data.cache_dir",
    "data.num_workers",
    "trainer.enable_progress_bar",
    "trainer.accelerator",
}


def check_same_settings(config: dict[str, Any], config_file: Path) -> None:
    """Raise a ValueError if an interrupted run was started with other settings than ``config``.

    Args:
        config: resolved config of the run that resumes.
        config_file: config.yaml of the interrupted run; nothing is checked where the file is missing.
    """
    if not config_file.is_file():
        return
    # The file is only compared, never built from; its interpolations stay unresolved.
    before, now = leaves(OmegaConf.to_container(read_config(config_file, trust=True))), leaves(config)
    changed = sorted(
        key
        for key in {*before, *now}
        if before.get(key) != now.get(key) and not any(key == k or key.startswith(f"{k}.") for k in MAY_CHANGE)
    )
    if changed:
        shown = ", ".join(f"{key} ({before.get(key)} -> {now.get(key)})" for key in changed[:5])
        raise ValueError(
            message(
                "resume",
                f"{config_file.parent} was started with other settings: {shown}",
                advice="Give the same settings, or remove the folder to start again.",
            )
        )


def leaves(node: Any, prefix: str = "") -> dict[str, Any]:
    """Return the leaves of a nested config by their dotted keys."""
    if not isinstance(node, dict):
        return {prefix: node}
    flat: dict[str, Any] = {}
    for key, value in node.items():
        flat |= leaves(value, f"{prefix}.{key!s}" if prefix else str(key))
    return flat
