"""Benchmark of the resamplers against the packages on PyPI, one process after another on one machine.

``python -m benchmarks.resampling --venv FOLDER`` makes two environments in FOLDER, one with the old NumPy and pandas
that the packages need and one with current versions. It times our resamplers and the packages in both environments,
our resamplers also at 20,000 rows, and writes ``benchmarks/results/resampling_DEVICE.json``. Each pair is measured in
one process with the same versions.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

from benchmarks.measure import device_name, machine

PACKAGES = ("smogn==0.1.2", "ImbalancedLearningRegression==0.0.2", "scikit-learn")
# The last versions that the packages run with.
ENVIRONMENTS = {"old": ("numpy==1.26.4", "pandas==1.5.3"), "new": ()}
GATE = 20.0
ROOT = Path(__file__).resolve().parents[1]


def interpreter(folder: Path, name: str) -> str:
    """Return the Python of an environment; create the environment with its packages first if it is missing."""
    place = folder / name
    python = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.is_file():
        venv.create(place, with_pip=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PACKAGES, *ENVIRONMENTS[name]], check=True)
    return str(python)


def measured(python: str, rows: int, which: str) -> dict[str, Any]:
    """Return the output of :mod:`benchmarks.resampling_worker` under the given Python, with one thread."""
    worker = Path(__file__).with_name("resampling_worker.py")
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    command = [python, str(worker), str(ROOT), str(rows), which]
    done = subprocess.run(command, env={**os.environ, **threads}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def table(runs: list[dict[str, Any]]) -> str:
    """Return a Markdown table with a row for each method and number of rows."""
    lines = ["| method | rows | NumPy | ours | package | its time | ratio |", "|---|---|---|---|---|---|---|"]
    for run in runs:
        for name, values in run["methods"].items():
            theirs, ratio = "", ""
            if "theirs" in values:
                theirs, ratio = f"{values['theirs']:.3g} s", f"{values['theirs'] / values['ours']:.0f}x"
            elif "error" in values:
                theirs = f"fails: {values['error']}"
            ours = f"{values['ours'] * 1e3:.3g} ms"
            cells = [
                name,
                f"{run['rows']:,}",
                run["versions"]["numpy"],
                ours,
                values.get("package", ""),
                theirs,
                ratio,
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--venv", type=Path, help="folder of the environments; without it only our resamplers are timed"
    )
    parser.add_argument(
        "--rows", type=int, nargs="+", default=[1000, 2000], help="numbers of rows for ours and theirs"
    )
    parser.add_argument("--large", type=int, default=20_000, help="number of rows for ours alone")
    parser.add_argument("--output", type=Path, default=None)
    parser.add_argument("--gates", action="store_true", help=f"fail under {GATE:g} times faster")
    given = parser.parse_args()

    runs = []
    if given.venv is not None:
        pythons = {name: interpreter(given.venv.resolve(), name) for name in ENVIRONMENTS}
        runs += [measured(pythons["old"], rows, "both") for rows in given.rows]
        runs.append(measured(pythons["new"], given.rows[0], "both"))
    runs.append(measured(sys.executable, given.large, "ours"))
    slug = re.sub(r"[^a-z0-9]+", "-", device_name().lower()).strip("-")
    output = given.output or ROOT / f"benchmarks/results/resampling_{slug}.json"
    output.write_text(json.dumps({"machine": machine(), "runs": runs}, indent=2) + "\n", encoding="utf-8")
    print(table(runs))
    print(f"written to {output}")
    slow = [
        f"{name} at {run['rows']} rows"
        for run in runs
        for name, values in run["methods"].items()
        if "theirs" in values and values["theirs"] < GATE * values["ours"]
    ]
    if given.gates and slow:
        raise SystemExit(f"under {GATE:g} times faster: {', '.join(slow)}")


if __name__ == "__main__":
    main()
