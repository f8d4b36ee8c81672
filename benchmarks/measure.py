"""Measuring two or three things side by side in one process, and counting operators."""

from __future__ import annotations

import functools
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

Action = Callable[[], object]

# Below this a call is preceded by an untimed one of the same function, so that each finds its own caches warm.
_PRIMED_BELOW = 5e-3
# Operators whose result the host must wait for on a device, or whose output shape depends on values.
_SYNCHRONISING = (
    "_local_scalar_dense",
    "bincount",
    "equal",
    "is_nonzero",
    "item",
    "masked_select",
    "nonzero",
    "repeat_interleave",
    "unique",
)


def timed(action: Action, gpu: bool = False) -> float:
    """Seconds of one call: on a GPU between two events in the stream; on the CPU the processor time of this process.

    At one thread that is what a wall clock shows on an idle machine. On a busy one a wall clock would flatter us: a
    call of microseconds fits between two interruptions, and the long loop it is compared with does not.
    """
    if gpu:
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        action()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    begin = clock()
    action()
    return clock() - begin


class Interleaved:
    """Time actions in turn, one call of each per round, so that other load on the machine affects all of them.

    Args:
        actions: what to time, by name.
        budget: seconds to spend, from which the number of rounds follows.
        rounds: bounds of that number.
        gpu: time in the stream of the GPU.
    """

    def __init__(
        self,
        actions: dict[str, Action],
        budget: float = 4.0,
        rounds: tuple[int, int] = (3, 200),
        gpu: bool = False,
    ) -> None:
        self.actions, self.gpu = actions, gpu
        for action in actions.values():  # the first call pays for imports, pages and caches
            action()
        once = {name: timed(action, gpu) for name, action in actions.items()}
        self._primed = {name for name, seconds in once.items() if seconds < _PRIMED_BELOW}
        self.rounds = max(rounds[0], min(rounds[1], int(budget / max(sum(once.values()), 1e-9))))
        self.seconds: dict[str, list[float]] = {name: [] for name in actions}

    def prime(self, name: str) -> None:
        """An untimed call before a timed one, where the action is short."""
        if name in self._primed:
            self.actions[name]()

    def time(self, name: str) -> None:
        """One timed call."""
        self.prime(name)
        self.seconds[name].append(timed(self.actions[name], self.gpu))

    def medians(self) -> dict[str, float]:
        """Median seconds of each action so far."""
        return {name: statistics.median(seconds) for name, seconds in self.seconds.items() if seconds}


def side_by_side(
    actions: dict[str, Action], budget: float, rounds: tuple[int, int] = (3, 200), gpu: bool = False
) -> dict[str, float]:
    """Median seconds of each action, measured in turn."""
    turns = Interleaved(actions, budget, rounds, gpu)
    for _ in range(turns.rounds):
        for name in actions:
            turns.time(name)
    return turns.medians()


class OperatorCalls(TorchDispatchMode):
    """Counts what reaches the dispatcher inside the block: ``calls`` that are no views, and ``synchronising`` ones.

    Example:
        >>> with OperatorCalls() as counted:
        ...     _ = torch.ones(3)[:2].sum().item()
        >>> counted.synchronising
        ['aten._local_scalar_dense.default']
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.synchronising: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = str(func)
        short = name.split(".")[1]
        boolean_index = short in ("index", "index_put", "index_put_") and any(
            isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        )
        if boolean_index or any(
            short.strip("_") == s.strip("_") or short.startswith(s + "_") for s in _SYNCHRONISING
        ):
            self.synchronising.append(name)
        # Questions about types (promote_types) launch nothing; views cost no memory traffic.
        gives_tensor = any("Tensor" in str(value.type) for value in func._schema.returns)
        if gives_tensor and not func.is_view:
            self.calls.append(name)
        return result


def machine(gpu: bool = False) -> dict[str, Any]:
    """Where and with what a number was measured."""
    return {
        "device": device_name(gpu),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "commit": _commit(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
    }


def device_name(gpu: bool = False) -> str:
    """The GPU's name, or the processor's."""
    if gpu:
        return str(torch.cuda.get_device_name())
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor() or platform.machine()} (CPU)"


@functools.cache
def _commit() -> str:
    """Return the commit that is checked out when the measurements begin."""
    folder = Path(__file__).parent
    commit = _git(folder, "rev-parse", "--short=12", "HEAD")
    changed = _git(folder, "status", "--porcelain", "--", "../dir", ".")
    return commit + ("+changes" if changed else "") if commit else "unknown"


def _git(folder: Path, *args: str) -> str:
    try:
        done = subprocess.run(["git", *args], cwd=folder, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
