"""A lock on a folder that ends with the process that holds it.

The lock is written by hand, not taken from the ``filelock`` package, for three reasons. ``filelock`` leaves the lock
file behind, so that every finished run folder would hold one. Its older versions let forked loader workers inherit
the lock: after ``kill -9`` of a run, workers that live on for seconds would keep the folder locked. On a file system
without locks it falls back to a marker file, which ``kill -9`` leaves behind for ever.

The lock is ``flock``, which the kernel releases when the process ends, after ``kill -9`` as well. On NFS, Linux turns
``flock`` into a lock of the server, so that runs on several machines see it. A network file system without lock
service cannot keep two runs apart: the run warns and continues.
"""

from __future__ import annotations

import os
import sys
import warnings
import weakref
from pathlib import Path

from dir._checks import message

if sys.platform == "win32":
    import msvcrt

    def _lock_handle(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock_handle(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


NAME = ".lock"
_held: weakref.WeakSet[FolderLock] = weakref.WeakSet()


class FolderLock:
    """A lock of the operating system on the file ``.lock`` of a folder.

    :meth:`release` removes the file while the file is still locked. A process that opened the file before the removal
    then finds that the file has no name any more, and opens the new one. Two processes therefore never hold the same
    folder, and a finished folder holds no lock file.

    Args:
        folder: :meth:`acquire` makes the folder if it is missing.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     first, second = FolderLock(Path(folder)), FolderLock(Path(folder))
        ...     print(first.acquire(), second.acquire())
        ...     first.release()
        ...     print(second.acquire())
        ...     second.release()
        True False
        True
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self._handle: int | None = None

    @property
    def held(self) -> bool:
        return self._handle is not None

    def acquire(self) -> bool:
        """Lock the folder without waiting; return False if another process holds the lock."""
        while not self.held:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            except FileNotFoundError:
                continue  # a refused run removed the empty folder between the two calls
            try:
                _lock_handle(handle)
            except (BlockingIOError, PermissionError):
                os.close(handle)
                return False
            except OSError as error:
                advice = "Start only one run at a time in this folder."
                warnings.warn(
                    message(str(self.path), f"the file system cannot lock files ({error})", advice=advice),
                    stacklevel=2,
                )
            if self._is_current(handle):
                self._handle = handle
                _held.add(self)
            else:
                os.close(handle)
        return True

    def release(self) -> None:
        """Release the lock if this object holds it."""
        handle, self._handle = self._handle, None
        if handle is None:
            return
        if sys.platform == "win32":  # Windows neither removes an open file nor locks a removed one
            os.close(handle)
            self._remove()
        else:
            self._remove()
            os.close(handle)

    def _remove(self) -> None:
        try:
            self.path.unlink()
        except OSError:  # the folder was removed, or on Windows locked by the next run
            return

    def _is_current(self, handle: int) -> bool:
        """Whether the locked file still has its name."""
        try:
            return os.path.samestat(os.fstat(handle), self.path.stat())
        except FileNotFoundError:
            return False


def _close_inherited() -> None:
    """Close the locks that a forked process inherits: loader workers outlive a killed run by seconds."""
    for lock in list(_held):
        if lock._handle is not None:
            os.close(lock._handle)
            lock._handle = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_inherited)
