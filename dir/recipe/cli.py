"""The command lines of scripts/train.py and scripts/evaluate.py."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import Any

import hydra
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from dir.recipe.run_folder import RunFolder, suffix


def config_dir() -> str:
    """The configs: dir/configs in an installed wheel, configs/ beside dir/ in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "configs"
    return str(installed if installed.is_dir() else package.parent / "configs")


def register_resolvers() -> None:
    """``${dir_stem:a/b.csv}`` -> b, ``${plus_one:9}`` -> 10, and the run folder's suffix, see :func:`suffix`."""
    OmegaConf.register_new_resolver("dir_stem", lambda path: Path(str(path)).stem, replace=True)
    OmegaConf.register_new_resolver("plus_one", lambda number: int(number) + 1, replace=True)
    OmegaConf.register_new_resolver("run_suffix", lambda lines: suffix(list(lines)), replace=True)


@hydra.main(config_path=config_dir(), config_name="train", version_base="1.3")
def _run(cfg: DictConfig) -> float | None:
    from torch.distributed.elastic.multiprocessing.errors import record

    from dir.recipe.settings import check_additions
    from dir.recipe.train import train

    context = HydraConfig.get()
    folder = RunFolder(Path(context.runtime.output_dir))
    if context.mode == RunMode.MULTIRUN and folder.finished:
        print(f"finished before, skipped: {folder.path}")
        return None
    choices = context.runtime.choices
    facts: dict[str, Any] = {"experiment": choices.get("experiment"), "method": choices["method"]}
    try:
        task = context.overrides.task
        others = [line for line in task if not line.startswith("++")]
        composed = None
        if len(others) < len(task):
            composed = hydra.compose("train", [*context.overrides.hydra, *others])
        check_additions(task, choices, composed)
        # Of many processes torchrun names the one that failed first, with its error.
        return record(train)(cfg, folder, facts)
    finally:
        folder.remove_if_empty()
        # The next run of a sweep needs the memory; trainer and module refer to each other.
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def train_main() -> None:
    """Hydra's main: ``+experiment=NAME method=M seed=S key=value ...``, sweeps with ``-m``."""
    register_resolvers()
    if len(sys.argv) == 1:
        experiments = sorted(path.stem for path in (Path(config_dir()) / "experiment").glob("*.yaml"))
        sys.exit(
            f"usage: train.py +experiment=NAME [method=M] [seed=S] [key=value ...]\nNAME: {', '.join(experiments)}"
        )
    _run()


def evaluate_main(arguments: list[str]) -> None:
    """``ckpt=PATH key=value ...``: prints the tables of a checkpoint, as its run did.

    Raises:
        SystemExit: if an argument is not ``key=value`` or ``ckpt`` is missing.
    """
    from dir.recipe.evaluate import evaluate_checkpoint

    wrong = [argument for argument in arguments if "=" not in argument]
    given = [argument for argument in arguments if argument.startswith("ckpt=")]
    if wrong or len(given) != 1:
        sys.exit("usage: evaluate.py ckpt=RUN/checkpoints/best.ckpt [data.path=... key=value ...]")
    register_resolvers()
    overrides = [argument for argument in arguments if argument not in given]
    evaluate_checkpoint(Path(given[0].removeprefix("ckpt=")), overrides)
