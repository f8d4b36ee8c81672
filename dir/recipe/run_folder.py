"""Where a run writes, and what it may write over: nothing that is finished."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

# Overrides that the folder's name holds elsewhere, or that say where things are and how a run is shown or
# placed, and not what it computes.
UNNAMED = {
    "experiment",
    "method",
    "seed",
    "resume",
    "name",
    "logger",
    "data.path",
    "data.csv",
    "data.glove",
    "data.label",
    "data.target",
    "data.cache_dir",
    "data.num_workers",
    "trainer.enable_progress_bar",
    "trainer.accelerator",
}
# Settings that may change when a run goes on: where things are, and how it is shown or placed.
ELSEWHERE = {
    "resume",
    "logger",
    "data.path",
    "data.csv",
    "data.glove",
    "data.cache_dir",
    "data.num_workers",
    "trainer.enable_progress_bar",
    "trainer.accelerator",
}
MAX_SUFFIX = 120


def suffix(overrides: Iterable[str]) -> str:
    """The part of a run folder's name that says what was overridden: ``,key=value`` for each, sorted.

    Characters that file systems or shells treat specially become ``_``; an overlong suffix becomes a hash.

    Example:
        >>> suffix(["+experiment=agedb", "seed=3", "method=lds", "method.lds.sigma=1", "optimizer.lr=0.01"])
        ',method.lds.sigma=1,optimizer.lr=0.01'
        >>> suffix(["model=a/b"])
        ',model=a_b'
    """
    kept = sorted(line.lstrip("+") for line in overrides if line.lstrip("+~").split("=")[0] not in UNNAMED)
    text = "".join(f",{re.sub(r'[^A-Za-z0-9_.=~+@-]', '_', line)}" for line in kept)
    if len(text) > MAX_SUFFIX:
        text = "," + hashlib.sha256("\n".join(kept).encode()).hexdigest()[:16]
    return text


class RunFolder:
    """The files of one run: config.yaml, checkpoints/, TensorBoard events, predictions.npz and metrics.json.

    metrics.json is written last and in one step: where it is, the run is finished.

    Args:
        path: the folder; made by :meth:`start`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.metrics = path / "metrics.json"
        self.predictions = path / "predictions.npz"
        self.checkpoints = path / "checkpoints"
        self.best = self.checkpoints / "best.ckpt"
        self.last = self.checkpoints / "last.ckpt"

    @property
    def finished(self) -> bool:
        return self.metrics.is_file()

    def check(self, resume: bool) -> None:
        """Raises RuntimeError if a run in this folder would destroy another one's results."""
        if self.finished:
            raise RuntimeError(
                f"{self.path} holds a finished run, which is never overwritten: remove the folder to run it "
                "again, or change name, seed or method"
            )
        if not resume and self.path.is_dir() and any(self.path.iterdir()):
            raise RuntimeError(
                f"{self.path} holds an unfinished run: set resume=true to go on with it, or remove the folder"
            )

    def check_config(self, cfg: DictConfig) -> None:
        """Raises ValueError if an interrupted run in this folder was started with other settings."""
        if not self.config.is_file():
            return
        before, now = _flat(OmegaConf.load(self.config)), _flat(cfg)
        # Going on elsewhere continues the same run; anything else would be a mixture of two.
        changed = sorted(
            key
            for key in {*before, *now}
            if before.get(key) != now.get(key) and not any(key == k or key.startswith(f"{k}.") for k in ELSEWHERE)
        )
        if changed:
            shown = ", ".join(f"{key} ({before.get(key)} -> {now.get(key)})" for key in changed[:5])
            raise ValueError(
                f"resume=true: {self.path} was started with other settings: {shown}; give the same ones, or "
                "remove the folder"
            )

    def start(self, cfg: DictConfig) -> None:
        """Makes the folder and writes the resolved config."""
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        self.config.write_text(OmegaConf.to_yaml(cfg, resolve=True), encoding="utf-8")

    def finish(self, content: dict[str, Any], labels: Tensor, predictions: Tensor) -> None:
        """Writes the test predictions, then metrics.json in one step."""
        np.savez(self.predictions, label=labels.numpy(), prediction=predictions.numpy())
        partial = self.metrics.with_suffix(".json.partial")
        partial.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        partial.replace(self.metrics)

    def remove_if_empty(self) -> None:
        """Removes the folders that Hydra made for a run that was then refused; nothing above where we are."""
        above = [path for path in self.path.parents if Path.cwd() in path.parents]
        for path in (self.path, *above):
            try:
                path.rmdir()
            except OSError:  # not empty, or never made
                return


def _flat(cfg: Any, prefix: str = "") -> dict[str, Any]:
    node = OmegaConf.to_container(cfg, resolve=True) if OmegaConf.is_config(cfg) else cfg
    if not isinstance(node, dict):
        return {prefix: node}
    flat: dict[str, Any] = {}
    for key, value in node.items():
        flat |= _flat(value, f"{prefix}.{key!s}" if prefix else str(key))
    return flat


def commit() -> str | None:
    """The commit of the checkout that this package runs from, with -dirty where files differ; None elsewhere."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return shown.stdout.strip() or None
