"""Command lines of scripts/train.py and scripts/evaluate.py."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import Any

import hydra
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from dir.recipe.run_folder import RunFolder
from dir.recipe.schema import register_configs


def config_dir() -> str:
    """Return the folder of the configs: dir/configs in an installed wheel, configs/ beside dir/ in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "configs"
    return str(installed if installed.is_dir() else package.parent / "configs")


@hydra.main(config_path=config_dir(), config_name="train", version_base="1.3")
def _run(cfg: DictConfig) -> float | None:
    from torch.distributed.elastic.multiprocessing.errors import record

    from dir.recipe.train import train

    context = HydraConfig.get()
    folder = RunFolder(Path(context.runtime.output_dir))
    if context.mode == RunMode.MULTIRUN and folder.finished:
        print(f"finished before, skipped: {folder.path}")
        return None
    choices = context.runtime.choices
    run_info: dict[str, Any] = {"experiment": choices.get("experiment"), "method": choices["method"]}
    try:
        # torchrun then names the process that failed first, with its error.
        return record(train)(cfg, folder, run_info)
    finally:
        folder.remove_if_empty()
        # Trainer and module refer to each other; the next run of a sweep needs their memory.
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def train_main() -> None:
    """Run scripts/train.py: ``+experiment=NAME method=M seed=S key=value ...``, sweeps with ``-m``."""
    register_configs()
    if len(sys.argv) == 1:
        experiments = sorted(path.stem for path in (Path(config_dir()) / "experiment").glob("*.yaml"))
        sys.exit(
            f"usage: train.py +experiment=NAME [method=M] [seed=S] [key=value ...]\nNAME: {', '.join(experiments)}"
        )
    _run()


def evaluate_main(arguments: list[str]) -> None:
    """Print the tables of a checkpoint, as its run did: ``ckpt=PATH key=value ...``.

    Raises:
        SystemExit: if an argument is not ``key=value`` or ``ckpt`` is missing.
    """
    from dir.recipe.evaluate import evaluate_checkpoint

    wrong = [argument for argument in arguments if "=" not in argument]
    given = [argument for argument in arguments if argument.startswith("ckpt=")]
    if wrong or len(given) != 1:
        sys.exit("usage: evaluate.py ckpt=RUN/checkpoints/best.ckpt [data.path=... key=value ...]")
    register_configs()
    overrides = [argument for argument in arguments if argument not in given]
    evaluate_checkpoint(Path(given[0].removeprefix("ckpt=")), overrides)
