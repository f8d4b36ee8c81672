"""Checkpoints that a crash cannot spoil: written aside, synced and renamed; read safely, and refused in words."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from dir._atomic import partial_of

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"
# What a checkpoint to go on from must hold; one of the best weights alone lacks the optimizer.
_STATE = ("state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks")


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes to a temporary file in the same folder, syncs it and renames it.

    A process that is killed while it writes leaves the old checkpoint as it was; so does a full disk. Before
    ``last.ckpt`` is replaced it becomes ``previous.ckpt``. (Lightning's own writer stages in the temp directory, and
    copies where that is another file system.)
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any | None = None
    ) -> None:
        """Writes the checkpoint, whole or not at all.

        Raises:
            RuntimeError: it could not be written, with the reason; the old file is still there.
            TypeError: storage options, which a local file does not have.
        """
        if storage_options is not None:
            raise TypeError(f"storage_options: {type(self).__name__} takes none, got {storage_options!r}")
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = partial_of(target)
        try:
            with partial.open("wb") as stream:
                torch.save(checkpoint, stream)
                stream.flush()
                os.fsync(stream.fileno())
            if target.name == LAST and target.is_file():
                _keep(target, target.with_name(PREVIOUS))
            partial.replace(target)
            _sync_folder(target.parent)
        except (OSError, RuntimeError) as error:
            for left in (partial, partial_of(target.with_name(PREVIOUS))):
                left.unlink(missing_ok=True)
            kept = "the one of an earlier epoch is kept; " if target.is_file() else ""
            raise RuntimeError(
                f"the checkpoint {target} could not be written: {error}; {kept}make room, then go on with resume=true"
            ) from error

    def load_checkpoint(
        self,
        path: str | os.PathLike[str],
        map_location: Callable[..., Any] | None = lambda storage, _: storage,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Reads tensors and plain values, and never runs what a file holds."""
        return read_checkpoint(Path(path), map_location)


class RunCheckpoint(ModelCheckpoint):
    """Lightning's callback, for a run folder that may be moved before the run goes on.

    Lightning forgets the best value where the folder has another name, and then takes the next epoch for the best.
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        def here(path: str) -> str:
            return str(Path(str(self.dirpath), Path(path).name)) if path else path

        paths = {key: here(state_dict[key]) for key in ("best_model_path", "kth_best_model_path", "last_model_path")}
        best = {here(path): value for path, value in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **paths, "best_k_models": best, "dirpath": self.dirpath})


def read_checkpoint(path: Path, map_location: Any = "cpu") -> dict[str, Any]:
    """The content of a checkpoint, tensors and plain values alone.

    Raises:
        ValueError: the file is cut off, or no checkpoint of a run; says what to do.
    """
    try:
        content = torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:  # a dozen types, from the zip reader to the unpickler
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path} cannot be read as a checkpoint, it is cut off or no such file: {reason}") from error
    if not (isinstance(content, dict) and isinstance(content.get("state_dict"), dict) and "epoch" in content):
        raise ValueError(f"{path} is no checkpoint of a run: expected the weights (state_dict) and the epoch")
    return content


def mismatches(own: Mapping[str, Any], saved: Mapping[str, Any]) -> list[str]:
    """What keeps the saved state from being loaded into a module whose own it is not: names, and shapes."""
    wrong = [key for key in {**own, **saved} if key not in own or key not in saved]
    return wrong + [
        f"{key} {tuple(saved[key].shape)} instead of {tuple(own[key].shape)}"
        for key in own
        if key in saved and getattr(saved[key], "shape", None) != getattr(own[key], "shape", None)
    ]


def check_resumable(path: Path, module: nn.Module) -> None:
    """Raises ValueError unless training can go on from this checkpoint with this module.

    Names what is wrong, and the other checkpoint that ``resume=previous`` takes where there is one.
    """
    other = path.with_name(PREVIOUS)
    advice = f"remove {path.parent.parent} to start again"
    if path.name == LAST and other.is_file():
        advice = f"go on from the epoch before with resume=previous, or {advice}"
    try:
        content = read_checkpoint(path)
    except ValueError as error:
        raise ValueError(f"{error}; {advice}") from error
    missing = [key for key in _STATE if key not in content]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}, so training cannot go on from it; {advice}")
    wrong = mismatches(module.state_dict(), content["state_dict"])
    if wrong:
        raise ValueError(f"{path} is of another model: {', '.join(wrong[:5])}; {advice}")


def _keep(path: Path, other: Path) -> None:
    """Gives the file a second name, in place of whatever had it."""
    spare = partial_of(other)
    spare.unlink(missing_ok=True)
    try:
        os.link(path, spare)
    except OSError:  # a file system without hard links: for a moment only the other name is there
        path.replace(other)
    else:
        spare.replace(other)
        # Two names of one file, as after a kill between here and the next rename, stay both where they are.
        spare.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Makes the rename itself last; only POSIX systems open folders."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
