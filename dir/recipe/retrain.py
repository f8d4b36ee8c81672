"""``dir-train retrain=RUN``: train a run again from the config in its folder, with some values changed."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from dir._checks import message
from dir.recipe.compatibility import check
from dir.recipe.run_folder import RunFolder
from dir.recipe.settings import check_settings
from dir.recipe.targets import read_config

RETRAIN = "retrain="


def read_retraining(arguments: Sequence[str], several: bool = False) -> tuple[DictConfig, RunFolder, dict[str, Any]]:
    """Return config, folder and facts of a run that is trained again.

    Args:
        arguments: ``retrain=RUN``, ``trust=true`` for a run of the user's own classes, and ``key=value`` for keys of
            the run's config. Without ``name=`` the name is that of the run with ``-retrained`` behind it, and
            ``-retrained-2`` if a run of that name exists.
        several: whether several processes train, which cannot agree on a free name.

    Raises:
        FileNotFoundError: RUN has no config.yaml or no metrics.json.
        ValueError: an argument that cannot be used, see :func:`dir.recipe.targets.read_config`.
    """
    run = Path(next(line for line in arguments if line.startswith(RETRAIN)).removeprefix(RETRAIN))
    bad = [line for line in arguments if "=" not in line]
    if bad:
        raise ValueError(message(bad[0], "expected key=value", advice="A sweep (-m) cannot train a run again."))
    for path in (run / "config.yaml", run / "metrics.json"):
        if not path.is_file():
            advice = "Give the folder of a finished run."
            raise FileNotFoundError(message("retrain", f"there is no file {path}", advice=advice))
    trust = "trust=true" in arguments
    overrides = [line for line in arguments if not line.startswith((RETRAIN, "trust="))]
    before = read_config(run / "config.yaml", trust)
    for line in overrides:
        key, _, value = line.partition("=")
        if isinstance(OmegaConf.select(before, key), DictConfig):
            advice = "Train a new run to choose another one."
            raise ValueError(message(key, "a run that is trained again keeps its groups", value, advice))
    cfg = read_config(run / "config.yaml", trust, overrides)
    about = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["run"]
    method = str(about["method"])
    if not re.fullmatch(r"[\w.-]+", method):
        raise ValueError(message(str(run / "metrics.json"), "expected the name of a method", method))
    if not any(line.startswith("name=") for line in overrides):
        if several:
            advice = "Set name=NAME: several processes cannot agree on a free name."
            raise ValueError(message("name", "not given", advice=advice))
        cfg.name = _free_name(f"{cfg.name}-retrained", method, cfg.seed)
    check_settings(cfg)
    check(cfg)
    changed = {line.partition("=")[0] for line in overrides}
    kept = [line for line in about.get("overrides") or [] if line.lstrip("+").partition("=")[0] not in changed]
    info = {"experiment": about.get("experiment"), "method": method, "overrides": [*kept, *overrides]}
    return cfg, RunFolder(_folder(cfg.name, method, cfg.seed)), info


def retrain(arguments: Sequence[str], several: bool) -> float:
    """Train a run again, see :func:`read_retraining`, and return ``val/all/<monitor>``."""
    cfg, folder, info = read_retraining(arguments, several)

    from dir.recipe.train import train

    try:
        return train(cfg, folder, info)
    finally:
        folder.remove_if_empty()


def _folder(name: str, method: str, seed: int) -> Path:
    return Path("outputs") / name / method / f"seed_{seed}"


def _free_name(name: str, method: str, seed: int) -> str:
    number, free = 1, name
    while os.path.lexists(_folder(free, method, seed)):
        number += 1
        free = f"{name}-{number}"
    return free
