"""Run committed results again from their own overrides, and report the largest difference of each metric.

    python benchmarks/reproduce.py benchmarks/results/abalone-Rings.jsonl --data FOLDER --methods lds fds --seeds 0

A result file keeps the command line of each run, with file names instead of paths. ``--data`` is the folder that
holds these files at any depth. The exit status is 1 if a run fails or a metric differs by more than the tolerance.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from dir._checks import message  # noqa: E402
from dir.compare.cli import filter_methods  # noqa: E402
from dir.compare.runs import PATH_KEYS, Run, find_runs  # noqa: E402

# Settings that change neither the training nor the name of the folder.
_QUIET = ("logger=none", "trainer.enable_progress_bar=false")


def with_paths(overrides: Sequence[str], data: Path) -> list[str]:
    """Return overrides in which each file name is replaced by the path of that file under ``data``.

    Raises:
        ValueError: ``data`` holds no such file, or several.
    """
    resolved = []
    for override in overrides:
        key, _, value = override.partition("=")
        if key.lstrip("+") in PATH_KEYS:
            found = sorted(data.rglob(value))
            if len(found) != 1:
                advice = "Set --data to the folder that holds the file."
                raise ValueError(message(key, f"found {len(found)} files under {data}, expected 1", value, advice))
            override = f"{key}={found[0].resolve()}"
        resolved.append(override)
    return resolved


def differences(committed: Mapping[str, Any], again: Mapping[str, Any]) -> Iterator[tuple[str, str, float]]:
    """Yield (metric, place, difference) for every number of the committed metrics.json.

    The difference is relative to the committed number where that exceeds 1, else absolute. It is infinite if only one
    side has a number.

    Args:
        committed: content of the committed metrics.json.
        again: content of the new metrics.json. Metrics that only it has are ignored.
    """
    for split, groups in committed.items():
        if split == "run":
            continue
        for group, values in groups.items():
            new = again.get(split, {}).get(group, {})
            for metric, old in values.items():
                yield metric, f"{split}/{group}", _difference(old, new.get(metric))


def _difference(old: float | None, new: float | None) -> float:
    if old is None or new is None:
        return 0.0 if old is new else math.inf
    return abs(new - old) / max(1.0, abs(old))


def run_again(run: Run, data: Path) -> dict[str, Any]:
    """Train a run again in a separate process with one thread, and return the content of its metrics.json.

    Raises:
        ValueError: the run has no overrides.
        RuntimeError: the training fails; the message holds the end of its output.
    """
    overrides = run.content.get("run", {}).get("overrides")
    if not overrides:
        raise ValueError(message(run.source, "has no overrides, so the run cannot be made again"))
    with tempfile.TemporaryDirectory() as folder:
        arguments = [*with_paths(overrides, data), *_QUIET, f"hydra.run.dir={folder}/run"]
        done = subprocess.run(
            [sys.executable, str(ROOT / "scripts" / "train.py"), *arguments],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        metrics = Path(folder) / "run" / "metrics.json"
        if done.returncode or not metrics.is_file():
            raise RuntimeError((done.stdout + done.stderr)[-1500:])
        content: dict[str, Any] = json.loads(metrics.read_text(encoding="utf-8"))
        return content


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, metavar="RESULT.jsonl")
    parser.add_argument("--methods", nargs="+", metavar="METHOD", help="default: all methods of the file")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], metavar="SEED", help="default: 0")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(os.environ.get("DIR_SHARED", ROOT.parent / "shared")) / "data",
        help="folder that holds the data files at any depth (default: $DIR_SHARED/data)",
    )
    parser.add_argument(
        "--tolerance", type=float, default=1e-6, help="largest difference that counts as rounding (default: 1e-6)"
    )
    args = parser.parse_args(arguments)
    try:
        runs = [run for run in filter_methods(find_runs(args.results)[0], args.methods) if run.seed in args.seeds]
        if not runs:
            raise ValueError(message("--seeds", f"{args.results.name} has no run of these seeds", args.seeds))
        for run in runs:
            with_paths(run.content.get("run", {}).get("overrides") or [], args.data)
    except ValueError as error:
        parser.error(str(error))
    largest: dict[str, float] = {}
    beyond, failed = 0, 0
    for number, run in enumerate(runs, 1):
        start = time.monotonic()
        label = f"[{number}/{len(runs)}] {run.method} {run.suffix} seed {run.seed}"
        try:
            found = list(differences(run.content, run_again(run, args.data)))
        except (RuntimeError, ValueError) as error:
            failed += 1
            print(f"{label}: FAILED\n{error}", flush=True)
            continue
        metric, where, worst = max(found, key=lambda entry: entry[2])
        for name, _, difference in found:
            largest[name] = max(largest.get(name, 0.0), difference)
        beyond += worst > args.tolerance
        verdict = "equal" if worst == 0 else f"largest difference {worst:.2g} ({metric} of {where})"
        print(f"{label}: {verdict}, {time.monotonic() - start:.0f} s", flush=True)
    print(f"\n{args.results.name}: {len(runs)} runs, {beyond} beyond rounding ({args.tolerance:g}), {failed} failed")
    for name, difference in largest.items():
        print(f"  {name}: largest difference {difference:.2g}")
    return int(beyond + failed > 0)


if __name__ == "__main__":
    sys.exit(main())
