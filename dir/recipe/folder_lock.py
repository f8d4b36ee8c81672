"""A lock that one process holds on a folder until it ends, however it ends, and that leaves nothing behind."""

from __future__ import annotations

import os
import sys
import warnings
import weakref
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def _take(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _take(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


NAME = ".lock"
_held: weakref.WeakSet[FolderLock] = weakref.WeakSet()


class FolderLock:
    """An operating system's lock on the file ``.lock`` of a folder, gone with the process that holds it.

    Released, the file is removed while it is still locked; whoever opened it before that finds that it is no longer
    the file of that name, and tries again. So no two processes can hold one folder, and a finished one is clean.

    Args:
        folder: made by :meth:`acquire` if it is not there.

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
        """Takes the lock if nobody else has it; True where it is held then. Never waits."""
        while not self.held:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            except FileNotFoundError:
                continue  # a refused run removed the empty folder between the two
            try:
                _take(handle)
            except (BlockingIOError, PermissionError):
                os.close(handle)
                return False
            except OSError as error:  # some network file systems have no locks
                warnings.warn(
                    f"{self.path} cannot be locked here ({error}): see to it that no two runs share a folder",
                    stacklevel=2,
                )
            if self._is_current(handle):
                self._handle = handle
                _held.add(self)
            else:
                os.close(handle)
        return True

    def release(self) -> None:
        """Gives the lock back if this object has it."""
        handle, self._handle = self._handle, None
        if handle is None:
            return
        if sys.platform == "win32":  # there an open file cannot be removed, and a removed one not be locked
            os.close(handle)
            self._remove()
        else:
            self._remove()
            os.close(handle)

    def _remove(self) -> None:
        try:
            self.path.unlink()
        except OSError:  # the folder was removed, or on Windows taken by the next run
            return

    def _is_current(self, handle: int) -> bool:
        try:
            return os.path.samestat(os.fstat(handle), self.path.stat())
        except FileNotFoundError:
            return False


def _forget() -> None:
    """Worker processes live on for seconds after a kill of the run, and must not hold its folder for it."""
    for lock in list(_held):
        if lock._handle is not None:
            os.close(lock._handle)
            lock._handle = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
