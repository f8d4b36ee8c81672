"""Where a run writes, and what it may write over: nothing that is finished."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from dir._atomic import write_atomic
from dir.recipe.checkpoints import LAST, PREVIOUS
from dir.recipe.folder_lock import FolderLock

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
# Overrides that the folder's name leaves out: it holds them elsewhere, or they change nothing that is computed.
UNNAMED = ELSEWHERE | {"experiment", "method", "seed", "name", "data.label", "data.target"}
MAX_SUFFIX = 200
# No room on the disk, within the quota, or for a file of this size.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


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
        self.model = path / "model"
        self.checkpoints = path / "checkpoints"
        self.best = self.checkpoints / "best.ckpt"
        self.last = self.checkpoints / LAST
        self.previous = self.checkpoints / PREVIOUS
        self._lock = FolderLock(path)

    @property
    def finished(self) -> bool:
        return self.metrics.is_file()

    @property
    def best_or_last(self) -> Path:
        """The checkpoint to evaluate. Where validation counts steps, a run may end before the first one."""
        return self.best if self.best.is_file() else self.last

    def check(self, resume: bool | str) -> None:
        """Raises RuntimeError if a run in this folder would destroy another one's results, or disturb one at work.

        A folder to go on in is locked from here on, so that it stays as it was found.
        """
        if not self.finished and self.path.is_dir() and (resume or self._lock.path.is_file()):
            self.lock()
        if self.finished:
            raise RuntimeError(
                f"{self.path} holds a finished run, which is never overwritten: remove the folder to run it "
                "again, or change name, seed or method"
            )
        if not resume and self._holds_something():
            raise RuntimeError(
                f"{self.path} holds an unfinished run: set resume=true to go on with it, or remove the folder"
            )

    def lock(self) -> None:
        """Takes the folder for this process until :meth:`release`, or until it ends, however it ends.

        Raises:
            RuntimeError: another process has it.
        """
        if not self._lock.acquire():
            raise RuntimeError(f"{self.path} is in use by another run: wait for it, or change name, seed or method")

    def release(self) -> None:
        """Gives the folder back, if this object has it."""
        self._lock.release()

    def _holds_something(self) -> bool:
        return self.path.is_dir() and any(path != self._lock.path for path in self.path.iterdir())

    def resume_from(self, resume: bool | str) -> Path | None:
        """The checkpoint to go on from; None where no epoch was finished.

        Raises:
            ValueError: ``resume=previous`` without a previous checkpoint.
        """
        if resume == "previous":
            if not self.previous.is_file():
                raise ValueError(
                    f"resume=previous: there is no {self.previous}; set resume=true, or remove the folder"
                )
            return self.previous
        # A kill between two renames leaves the previous one alone, where the file system has no hard links.
        return next((path for path in (self.last, self.previous) if path.is_file()), None)

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
        """Takes the folder, made if it is not there, and writes the resolved config.

        Raises:
            RuntimeError: another run took it since :meth:`check`.
        """
        self.lock()
        self.check(cfg.resume)
        # Lightning's csv logger removes the file that it finds, of the epochs before the interruption.
        for log in self.path.glob("*/metrics.csv"):
            log.replace(log.with_name(f"metrics_before_{len(list(log.parent.iterdir()))}.csv"))
        _write(self.config, OmegaConf.to_yaml(cfg, resolve=True).encode())

    def finish(
        self, content: dict[str, Any], labels: Tensor, predictions: Tensor, variances: Tensor | None = None
    ) -> None:
        """Writes the test predictions, with their variances where there are any, then metrics.json in one step."""
        arrays = io.BytesIO()
        more: dict[str, Any] = {} if variances is None else {"variance": variances.numpy()}
        np.savez(arrays, label=labels.numpy(), prediction=predictions.numpy(), **more)
        _write(self.predictions, arrays.getvalue())
        _write(self.metrics, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())

    def explain(self, error: OSError) -> RuntimeError | None:
        """For a full disk an error that says how to go on; None for any other, which says enough."""
        if error.errno not in FULL:
            return None
        return RuntimeError(f"{self.path}: {error.strerror}; make room, then go on with resume=true")

    def how_to_go_on(self) -> str:
        """What to tell the user of a run that was interrupted."""
        if not (self.last.is_file() or self.previous.is_file()):
            return (
                f"interrupted before the end of the first epoch, so {self.path} holds no checkpoint: "
                "resume=true starts the run again"
            )
        return (
            f"interrupted: {self.checkpoints} holds the last epoch that was finished; go on with resume=true, or "
            f"remove {self.path}"
        )

    def remove_if_empty(self) -> None:
        """Removes the folders that Hydra made for a run that was then refused; nothing above where we are."""
        self.release()
        above = [path for path in self.path.parents if Path.cwd() in path.parents]
        for path in (self.path, *above):
            try:
                path.rmdir()
            except OSError:  # not empty, or never made
                return


def _write(path: Path, content: bytes) -> None:
    try:
        write_atomic(path, content)
    except OSError as error:
        raise RuntimeError(f"{path} could not be written: {error}; make room, then go on with resume=true") from error


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
