"""The folder that a run writes its files to; a finished run is never overwritten."""

from __future__ import annotations

import errno
import io
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import OmegaConf

from dir._atomic import write_atomic
from dir._checks import message
from dir.recipe.folder_lock import FolderLock
from dir.recipe.same_settings import check_same_settings

if TYPE_CHECKING:  # the folder of a run is checked before PyTorch is imported
    from dir.recipe.run_data import DataRecord

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"
# Errors of a full disk, an exhausted quota, and a file above the allowed size.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_MAKE_ROOM = "Make room on the disk, then set resume=true."


class RunFolder:
    """The files of one run, see docs/run_folder.md.

    metrics.json is written last and in one step: a folder with this file holds a finished run.

    Args:
        path: the folder; :meth:`start` makes it.
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
        # True while a failure would leave nothing of value: the run made the folder and has trained no step.
        self._disposable = False

    @property
    def finished(self) -> bool:
        return self.metrics.is_file()

    @property
    def best_or_last(self) -> Path:
        """The checkpoint to evaluate. A run that validates by steps may end before its first validation."""
        return self.best if self.best.is_file() else self.last

    def check(self, resume: bool | str, config: dict[str, Any] | None = None) -> None:
        """Raise an error if a run in this folder would overwrite results or disturb another run.

        If the run resumes, the folder is locked from here on, so that its files stay as they were checked.

        Args:
            resume: the setting of that name.
            config: resolved config, compared with the config of an interrupted run. None skips the comparison.

        Raises:
            RuntimeError: the folder holds a finished run, or an interrupted run and ``resume`` is false, or another
                run uses the folder.
            ValueError: the interrupted run was started with other settings.
        """
        if not self.finished and self.path.is_dir() and (resume or self._lock.path.is_file()):
            self.lock()
        if self.finished:
            raise RuntimeError(
                message(
                    str(self.path),
                    "the folder holds a finished run, which is never overwritten",
                    advice="Remove the folder to run it again, or change name, seed or method.",
                )
            )
        if not resume and self._holds_something():
            raise RuntimeError(
                message(
                    str(self.path),
                    "the folder holds an unfinished run",
                    advice="Set resume=true to resume it, or remove the folder.",
                )
            )
        if config is not None:
            check_same_settings(config, self.config)

    def lock(self) -> None:
        """Lock the folder for this process until :meth:`release` or the end of the process.

        Raises:
            RuntimeError: another process holds the lock.
        """
        if not self._lock.acquire():
            raise RuntimeError(
                message(
                    str(self.path),
                    "the folder is in use by another run",
                    advice="Wait for the other run, or change name, seed or method.",
                )
            )

    def release(self) -> None:
        """Release the lock if this object holds it."""
        self._lock.release()

    def _holds_something(self) -> bool:
        return self.path.is_dir() and any(path != self._lock.path for path in self.path.iterdir())

    def resume_from(self, resume: bool | str) -> Path | None:
        """Return the checkpoint to resume from; None where no epoch was finished.

        Raises:
            ValueError: ``resume=previous`` without a previous checkpoint.
        """
        if resume == "previous":
            if not self.previous.is_file():
                raise ValueError(
                    message(
                        "resume",
                        f"there is no file {self.previous}",
                        resume,
                        "Set resume=true, or remove the folder to start again.",
                    )
                )
            return self.previous
        # Without hard links, a kill between two renames leaves the previous checkpoint alone.
        return next((path for path in (self.last, self.previous) if path.is_file()), None)

    def start(self, config: dict[str, Any], record: DataRecord | None = None) -> None:
        """Lock the folder, make it if it is missing, and write the first files.

        Args:
            config: resolved config, for config.yaml.
            record: record of the data, for split.json.gz and data.json; None writes neither.

        Raises:
            RuntimeError: another run took the folder since :meth:`check`.
        """
        self.lock()
        self.check(config["resume"])
        self._disposable = not self._holds_something()
        # Lightning's csv logger deletes the log of the epochs before the interruption: rename that log.
        for log in self.path.glob("*/metrics.csv"):
            log.replace(log.with_name(f"metrics_before_{len(list(log.parent.iterdir()))}.csv"))
        for name, content in ({} if record is None else record.files()).items():
            _write(self.path / name, content)
        _write(self.config, OmegaConf.to_yaml(OmegaConf.create(config)).encode())

    def keep(self) -> None:
        """Keep the files of the run if it fails from here on. Called once the run has trained a step."""
        self._disposable = False

    def finish(self, content: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        """Write the arrays to predictions.npz, then the content to metrics.json in one step."""
        stream = io.BytesIO()
        np.savez(stream, **arrays)  # type: ignore[arg-type]
        _write(self.predictions, stream.getvalue())
        _write(self.metrics, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Run the body of a ``with`` statement, and leave the folder in order however the body ends.

        A failure before the first training step removes the files that the run wrote. A full disk becomes a
        RuntimeError with instructions. The lock is released in every case.
        """
        try:
            yield
        except Exception as error:
            self._remove_if_disposable()
            if isinstance(error, OSError) and error.errno in FULL:
                raise RuntimeError(message(str(self.path), str(error.strerror), advice=_MAKE_ROOM)) from error
            raise
        finally:
            self.release()

    def _remove_if_disposable(self) -> None:
        # A first stage that has trained stays, although the second stage has trained no step.
        if self._disposable and not any(self.path.glob("*/config.yaml")):
            shutil.rmtree(self.path, ignore_errors=True)

    def resume_instructions(self) -> str:
        """Return the message that ends an interrupted run."""
        if not (self.last.is_file() or self.previous.is_file()):
            return (
                f"Interrupted before the end of the first epoch: {self.path} holds no checkpoint. "
                "Set resume=true to start the run again."
            )
        return (
            f"Interrupted: {self.checkpoints} holds the last finished epoch. Set resume=true to resume the run, or "
            f"remove {self.path}."
        )

    def remove_if_empty(self) -> None:
        """Remove the empty folders that Hydra made for a refused run, up to the working directory."""
        self.release()
        above = [path for path in self.path.parents if Path.cwd() in path.parents]
        for path in (self.path, *above):
            try:
                path.rmdir()
            except FileNotFoundError:  # never made, or removed after a failure; the folders above may be empty
                continue
            except OSError:  # not empty
                return


def _write(path: Path, content: bytes) -> None:
    try:
        write_atomic(path, content)
    except OSError as error:
        raise RuntimeError(
            message(str(path), f"the file could not be written ({error})", advice=_MAKE_ROOM)
        ) from error
