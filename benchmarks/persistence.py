"""Persistence as a row beside the runs of a nowcast: the last frame of each picture as the predicted map.

``python -m benchmarks.persistence RUN`` reads the run folder's config and bins, predicts with the last channel of the
pictures, decoded as the labels are, and writes ``persistence/seed_S.../metrics.json`` beside the method's folder, so
that ``dir-compare`` shows the same metrics and shot groups.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dir._checks import message
from dir.data.base import Split
from dir.data.npz_maps import NpzMaps
from dir.recipe.build import build_data
from dir.recipe.predictions import summarise
from dir.recipe.quiet import quiet_lightning
from dir.recipe.schema import register_configs
from dir.recipe.summary import Groups, print_summary
from dir.recipe.targets import load_config, model_file


def last_frame(data: NpzMaps, split: Split) -> tuple[Tensor, Tensor]:
    """Return the last channel at the labelled pixels of a split, in the unit of the labels, and the labels."""
    maps: Any = data.dataset(split)
    labels, frames = maps.source.labels(maps.rows), maps.source.images(maps.rows)[:, -1]
    if frames.shape != labels.shape:
        problem = "expected pictures of the size of the maps"
        raise ValueError(message("data", problem, [list(frames.shape), list(labels.shape)]))
    kept = ~labels.isnan()
    plain = data.code._replace(hole=None)
    return plain.labels(frames.numpy(), None, "images")[kept], labels[kept]


def persistence(run: Path) -> dict[str, Groups]:
    """Return the shot metrics of persistence on val and test, with the bins and groups of a run."""
    cfg = load_config(model_file(run), [])
    data, _, _, metrics = build_data(cfg)
    if not isinstance(data, NpzMaps):
        raise ValueError(message("run", "expected a run on maps of an npz", type(data).__name__))
    found: dict[str, Groups] = {}
    splits: tuple[Split, ...] = ("val", "test")
    for split in splits:
        predictions, labels = last_frame(data, split)
        found[split] = summarise(metrics, labels, predictions)
    print_summary(found, cfg.task.unit)
    return found


def main() -> None:
    """Write the metrics of persistence beside a run."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m benchmarks.persistence RUN")
    quiet_lightning()
    register_configs()
    torch.set_num_threads(1)
    run = Path(sys.argv[1]).resolve()
    target = run.parents[1] / "persistence" / run.name / "metrics.json"
    content = json.loads((run / "metrics.json").read_text())["run"]
    kept = {name: content[name] for name in ("name", "seed", "monitor", "shots", "data", "overrides", "commit")}
    found = persistence(run)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps({**found, "run": {**kept, "method": "persistence"}}))
    print(f"written to {target}")


if __name__ == "__main__":
    main()
