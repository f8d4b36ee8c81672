"""How FDS's cost grows with the batch, the features and the bins, ours beside the naive loop.

``python -m benchmarks.growth measure JSON`` measures; ``... show JSON [--picture PNG]`` prints
the block of docs/benchmarks.md and draws its picture (needs matplotlib).
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import machine, side_by_side
from benchmarks.setups import accumulate_actions, calibrate_actions, layers
from benchmarks.summary import quantity

BASE = {"batch": 256, "features": 512, "bins": 100}
RANGES = {
    "batch": (16, 64, 256, 1024, 4096),
    "features": (32, 128, 512, 2048, 8192),
    "bins": (10, 30, 100, 300, 1000),
}
PARTS = ("calibrate", "accumulate")


def measure(budget: float) -> list[dict[str, Any]]:
    """Seconds of both parts, ours and naive, along each range while the other two stay at their base."""
    points = []
    for name, sizes in RANGES.items():
        for size in sizes:
            at = {**BASE, name: size}
            setup = layers(at["batch"], at["features"], at["bins"])
            point: dict[str, Any] = {"along": name, "size": size}
            for part, actions in zip(PARTS, (calibrate_actions(setup), accumulate_actions(setup)), strict=True):
                chosen = {who: actions[who] for who in ("ours", "naive")}
                point[part] = side_by_side(chosen, budget, (3, 60))
            points.append(point)
    return points


def block(found: dict[str, Any], command: str) -> str:
    """The table, between markers that hold the command."""
    where = f"{found['device']}, {found['threads']} thread, torch {found['torch']}, commit {found['commit']}"
    lines = [
        f"<!-- python -m benchmarks.growth {command} -->",
        "",
        f"Measured on: {where}. Where nothing else is said: " + ", ".join(f"{n} {k}" for k, n in BASE.items()) + ".",
        "",
        "| | calibrate, ours | naive | naive / ours | accumulate, ours | naive | naive / ours |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for point in found["points"]:
        cells = [f"{point['along']} {point['size']:,}"]
        for part in PARTS:
            ours, naive = point[part]["ours"], point[part]["naive"]
            cells += [quantity(ours, "s"), quantity(naive, "s"), f"{naive / ours:.3g}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", "<!-- end -->"])


def draw(found: dict[str, Any], path: Path) -> None:
    """One panel per range, both axes logarithmic."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(RANGES), figsize=(11, 3.6), sharey=True, constrained_layout=True)
    for panel, name in zip(panels, RANGES, strict=True):
        points = [point for point in found["points"] if point["along"] == name]
        sizes = [point["size"] for point in points]
        for part, color in zip(PARTS, ("tab:blue", "tab:orange"), strict=True):
            for who, style in (("ours", "o-"), ("naive", "s--")):
                seconds = [1e3 * point[part][who] for point in points]
                panel.plot(sizes, seconds, style, color=color, label=f"{part}, {who}", markersize=4)
        fixed = ", ".join(f"{n} {key}" for key, n in BASE.items() if key != name)
        panel.set(xscale="log", yscale="log", xlabel=f"{name} ({fixed})")
        panel.set_xticks(sizes, [f"{size:,}" for size in sizes])
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("milliseconds")
    panels[0].legend(fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the growth of cost, or show a measurement."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("task", choices=["measure", "show"])
    parser.add_argument("json", type=Path, metavar="JSON")
    parser.add_argument("--picture", type=Path, metavar="PNG", help="draw the picture as well")
    parser.add_argument("--budget", type=float, default=0.6, help="seconds per measured pair")
    options = parser.parse_args(given)
    if options.task == "measure":
        torch.set_num_threads(1)
        torch.manual_seed(0)
        found = {**machine(), "points": measure(options.budget)}
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        return
    found = json.loads(options.json.read_text(encoding="utf-8"))
    print(block(found, shlex.join(given)))
    if options.picture:
        draw(found, options.picture)


if __name__ == "__main__":
    main()
