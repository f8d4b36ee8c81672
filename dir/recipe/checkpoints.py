"""Checkpoint files: written in one step, read without running code, and refused with the reason."""

from __future__ import annotations

import copy
import hashlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from dir._archives import check_archive
from dir._atomic import partial_of
from dir._checks import message
from dir.recipe.run_folder import LAST, PREVIOUS


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write a checkpoint to a temporary file in the same folder, sync the file and rename it.

    A process that is killed while it writes leaves the old checkpoint intact, and so does a full disk. The old
    ``last.ckpt`` becomes ``previous.ckpt``. Lightning's own writer uses the temp directory, and copies the file where
    the temp directory is on another file system.

    A file that was written less than ``every_seconds`` ago is not written again yet: a copy of the new checkpoint
    stays in memory. :meth:`write_kept` writes the copies, which :class:`RunCheckpoint` calls at the end of training
    and after an exception. ``last.ckpt`` contains the sha256 of ``best.ckpt``, so that a kept best checkpoint is
    written just before it.

    Args:
        every_seconds: seconds between two writes of a file, at least; 0 (default) writes each checkpoint at once.
        clock: returns the time in seconds.
    """

    def __init__(self, every_seconds: float = 0.0, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.every_seconds = every_seconds
        self._clock = clock
        self._began = clock()
        self._written: dict[Path, float] = {}
        self._kept: dict[Path, dict[str, Any]] = {}
        # File of the best checkpoint (path, inode, time of change), and its hash.
        self._hashed: tuple[str, int, int] = ("", 0, 0)
        self._sha256 = ""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any | None = None
    ) -> None:
        """Write the whole checkpoint, or leave the old one; or keep a copy in memory until a write is due.

        Raises:
            RuntimeError: the file could not be written; the old file is still there.
            TypeError: storage options, which local files do not have.
        """
        if storage_options is not None:
            raise TypeError(message("storage_options", f"{type(self).__name__} takes none", storage_options))
        target = Path(path)
        if self._clock() - self._written.get(target, self._began) < self.every_seconds:
            self._kept[target] = copy_to_memory(checkpoint)
            return
        self._kept.pop(target, None)
        if target.name == LAST:
            self.write_kept()
        self._write(checkpoint, target)

    def write_kept(self) -> None:
        """Write the checkpoints that are kept in memory, ``last.ckpt`` at the end.

        Raises:
            RuntimeError: a file could not be written; the old file is still there.
        """
        for target in sorted(self._kept, key=lambda path: path.name == LAST):
            self._write(self._kept[target], target)
            del self._kept[target]

    def _write(self, checkpoint: dict[str, Any], target: Path) -> None:
        if target.name == LAST:
            self._record_best(checkpoint)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = partial_of(target)
        try:
            with partial.open("wb") as stream:
                torch.save(checkpoint, stream)
                stream.flush()
                os.fsync(stream.fileno())
            if target.name == LAST and target.is_file():
                _rename_keeping_original(target, target.with_name(PREVIOUS))
            partial.replace(target)
            _sync_folder(target.parent)
            self._written[target] = self._clock()
        except (OSError, RuntimeError) as error:
            for left in (partial, partial_of(target.with_name(PREVIOUS))):
                left.unlink(missing_ok=True)
            kept = "The checkpoint of an earlier epoch is kept. " if target.is_file() else ""
            raise RuntimeError(
                message(
                    str(target),
                    f"the checkpoint could not be written ({error})",
                    advice=f"{kept}Make room on the disk, then set resume=true.",
                )
            ) from error

    def _record_best(self, checkpoint: dict[str, Any]) -> None:
        """Add the hash of the best checkpoint to its callback's state, so that a resumed run notices another file."""
        for state in checkpoint.get("callbacks", {}).values():
            path = Path(state.get("best_model_path", ""))
            if state.get("monitor") is None or not path.is_file():
                continue  # another callback, or the one of last.ckpt
            status = path.stat()
            file = (str(path), status.st_ino, status.st_mtime_ns)
            if file != self._hashed:
                self._hashed, self._sha256 = file, hashlib.sha256(path.read_bytes()).hexdigest()
            state["best_sha256"] = self._sha256

    def load_checkpoint(
        self,
        path: str | os.PathLike[str],
        map_location: Callable[..., Any] | None = lambda storage, _: storage,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Return the content of a checkpoint, see :func:`read_checkpoint`."""
        return read_checkpoint(Path(path), map_location)


class RunCheckpoint(ModelCheckpoint):
    """Lightning's checkpoint callback, for a run folder that may be moved before the run resumes.

    Lightning forgets the best value if the folder has another name, and then takes the next epoch for the best.
    """

    # With ``best=recompute``: whether a value replaces that of the resumed checkpoint, and the value, which only the
    # first process knows until the checkpoint is loaded.
    recomputing: bool = False
    recomputed: float = float("nan")

    @cached_property
    def state_key(self) -> str:
        """The key of the state in a checkpoint, made once: Lightning asks for it in every hook of every step."""
        return super().state_key

    def on_train_batch_end(self, *arguments: Any) -> None:
        """Do nothing: no checkpoint of a run is counted in steps."""

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_end(trainer, pl_module)
        _write_kept(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        super().on_exception(trainer, pl_module, exception)
        # When one of several processes fails, the launcher sends SIGTERM to the others while they end by themselves.
        with _without_sigterm():
            try:
                _write_kept(trainer)
            except RuntimeError as error:
                # The exception that ends the run is raised again, and is more important.
                print(error, file=sys.stderr)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        def moved(path: str) -> str:
            return str(Path(str(self.dirpath), Path(path).name)) if path else path

        paths = {key: moved(state_dict[key]) for key in ("best_model_path", "kth_best_model_path", "last_model_path")}
        best = {moved(path): value for path, value in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **paths, "best_k_models": best, "dirpath": self.dirpath})
        if self.recomputing:
            value = torch.tensor(_of_first_process(self.recomputed))
            self.best_model_score, self.kth_value = value, value
            self.best_k_models = {self.best_model_path: value}


def _write_kept(trainer: Trainer) -> None:
    """Write the checkpoints that the first process keeps in memory; the others keep none."""
    writer = trainer.strategy.checkpoint_io
    if isinstance(writer, AtomicCheckpointIO):
        writer.write_kept()


@contextmanager
def _without_sigterm() -> Iterator[None]:
    """Ignore SIGTERM in a process that is about to end anyway."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        yield
    finally:
        # None: the handler was not set from Python, and cannot be put back.
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


def copy_to_memory(value: Any) -> Any:
    """Return a copy of nested containers that later training steps do not change, with tensors on the CPU.

    Example:
        >>> state = {"w": [torch.zeros(2)], "epoch": 3}
        >>> copied = copy_to_memory(state)
        >>> _ = state["w"][0].add_(1)
        >>> copied
        {'w': [tensor([0., 0.])], 'epoch': 3}
    """
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        # The type is kept, and the attributes: a state_dict is an OrderedDict with the versions of its modules.
        copied = copy.copy(value)
        for key, item in value.items():  # Counter.update would count
            copied[key] = copy_to_memory(item)
        return copied
    if type(value) in (list, tuple):
        return type(value)(copy_to_memory(item) for item in value)
    return copy.deepcopy(value)


def _of_first_process(value: float) -> float:
    """Return the value of the first process; every process of the run must call this function."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return value
    values: list[Any] = [value]
    torch.distributed.broadcast_object_list(values, src=0)
    return float(values[0])


def read_checkpoint(path: Path, map_location: Any = "cpu") -> dict[str, Any]:
    """Return the content of a checkpoint: tensors and plain values; code in the file is never run.

    Raises:
        ValueError: the file is cut off or damaged, or no checkpoint of a run.
    """
    check_archive(path)
    try:
        content = torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:  # a dozen types, from the zip reader to the unpickler
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            message(str(path), f"the file cannot be read as a checkpoint, it is of another kind ({reason})")
        ) from error
    if not (isinstance(content, dict) and isinstance(content.get("state_dict"), dict) and "epoch" in content):
        raise ValueError(
            message(str(path), "expected a checkpoint of a run, with its weights (state_dict) and its epoch")
        )
    return content


def mismatches(own: Mapping[str, Any], saved: Mapping[str, Any]) -> list[str]:
    """Return the differences in names and shapes between a module's state and a saved state."""
    wrong = [key for key in {**own, **saved} if key not in own or key not in saved]
    return wrong + [
        f"{key} {tuple(saved[key].shape)} instead of {tuple(own[key].shape)}"
        for key in own
        if key in saved and getattr(saved[key], "shape", None) != getattr(own[key], "shape", None)
    ]


def _rename_keeping_original(path: Path, other: Path) -> None:
    """Replace the file ``other`` by a second name of the file ``path``."""
    spare = partial_of(other)
    spare.unlink(missing_ok=True)
    try:
        os.link(path, spare)
    except OSError:  # a file system without hard links: for a moment only the other name exists
        path.replace(other)
    else:
        spare.replace(other)
        # After a kill between this rename and the next, both names belong to one file. Renaming one of them to the
        # other then does nothing, and leaves the spare name.
        spare.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Sync the folder, so that a rename survives a power cut. Only POSIX systems can open folders."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
