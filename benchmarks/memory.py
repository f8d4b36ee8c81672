"""Peak extra memory of one job in a separate process: ``python -m benchmarks.memory JOB ARGUMENTS`` prints MiB.

The peak of the resident set is reset after a small rehearsal, which pays for imports and code pages. Linux alone has
the reset. Every block comes from the system and goes back to it (see ``peak_mib``), so the peak counts
live memory only.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.naive import NaiveFDS, second_pass
from dir.bins import LabelBins
from dir.fds import FDS

_NUM_LABELS, _BATCH = 100, 256


def peak_mib(job: str, *arguments: str | int) -> float:
    """Run a job in a separate process; return the MiB above its memory before, or NaN if it cannot be measured."""
    if not Path("/proc/self/clear_refs").exists():
        return float("nan")
    # Fixed, glibc's threshold does not creep up: freed tensors leave the process at once.
    env = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.memory", job, *map(str, arguments)]
    done = subprocess.run(
        command, env=env, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[1:])} failed:\n{done.stderr}")
    return float(done.stdout)


def batches(n: int, d: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Features and labels of an epoch, each batch made when it is asked for, as an encoder would."""
    for start in range(0, n, _BATCH):
        rows = min(_BATCH, n - start)
        yield torch.randn(rows, d), torch.randint(0, _NUM_LABELS, (rows,))


def epoch_ours(n: int, d: int) -> None:
    fds = FDS(d, LabelBins.integers(0, _NUM_LABELS - 1), start_smooth=None)
    for features, labels in batches(n, d):
        fds(features, labels)
    fds.end_epoch()


def epoch_naive(n: int, d: int) -> None:
    second_pass(NaiveFDS(d, _NUM_LABELS), batches(n, d), epoch=0)


def regularizer(path: str, n: int, d: int) -> None:
    """One forward and backward of a regulariser, named as ``module:Class``."""
    module, name = path.split(":")
    term = getattr(import_module(module), name)()
    labels = (35 + 15 * torch.randn(n)).clamp(0, 100)
    term.fit(labels, LabelBins.integers(0, 100))
    term(torch.randn(n, d, requires_grad=True), labels, torch.randn(n, requires_grad=True)).backward()


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def main(job: str, *arguments: str) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if job == "regularizer":
        path, n, d = arguments[0], int(arguments[1]), int(arguments[2])
        regularizer(path, 64, 8)
        _reset()
        before = _status("VmRSS")
        regularizer(path, n, d)
    else:
        epoch = {"epoch_ours": epoch_ours, "epoch_naive": epoch_naive}[job]
        n, d = map(int, arguments)
        epoch(600, 8)
        _reset()
        before = _status("VmRSS")
        epoch(n, d)
    print((_status("VmHWM") - before) / 1024)


def _reset() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
