"""Prints the validation balanced MAE of finished histogram_prior runs for several floors of the label prior.

python benchmarks/prior_floor.py outputs/tabular/abalone-Rings/histogram_prior/seed_100 ...

The network runs once. For each floor, the power is the one that is best on validation.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from dir.prior import choose_power
from dir.recipe.build import build
from dir.recipe.cli import register_configs
from dir.recipe.evaluate import load_config, load_weights
from dir.recipe.predictions import summarise
from dir.recipe.run_data import read_split

# Floors in training samples spread over the grid; None is a tenth of the training samples.
FLOORS = (None, 100, 30, 10, 1, 0)


@torch.no_grad()
def study(run: Path) -> None:
    checkpoint = run / "checkpoints" / "best.ckpt"
    split = read_split(run.resolve())
    parts = build(load_config(checkpoint, []), lambda data: data.restore_split(split) if split else data.setup())
    load_weights(parts.module, checkpoint)
    module, head = parts.module.eval(), parts.module.model.head
    batches = [(module.model(inputs), labels) for inputs, labels in parts.data.whole("val")]
    output, labels = (torch.cat(values) for values in zip(*batches, strict=True))
    train = parts.data.labels("train")
    for samples in FLOORS:
        head.prior.floor = 0.1 if samples is None else samples / len(train)
        head.prior.fit(module.to_target(train), head.cells)
        power, tried = choose_power(
            lambda power: module.to_raw(head.predict(output, power)),
            labels,
            lambda predictions, truth: float(summarise(module.metrics, truth, predictions)["all"]["balanced_mae"]),
        )
        name = f"{len(train) / 10:g}" if samples is None else str(samples)
        print(
            f"{run}: floor of {name} samples: power {power:g}, validation balanced MAE {tried[power]:.3f}", flush=True
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="run folders of method=histogram_prior")
    register_configs()
    for run in parser.parse_args().runs:
        study(run)


if __name__ == "__main__":
    main()
