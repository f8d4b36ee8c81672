"""Command lines of ``dir-train`` and ``dir-evaluate``, and of scripts/train.py and scripts/evaluate.py.

PyTorch and Lightning take seconds to import. The module refuses wrong settings before it imports them.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dir._checks import message
from dir._program import answer_help, program
from dir.recipe.compatibility import check, check_overrides, unused_overrides
from dir.recipe.folder_name import UNNAMED, run_name
from dir.recipe.quoted import quote_values
from dir.recipe.retrain import RETRAIN, retrain
from dir.recipe.run_folder import RunFolder
from dir.recipe.schema import register_configs
from dir.recipe.settings import check_settings
from dir.recipe.targets import load_config, model_file

# Packages of the launchers of a sweep.
_LAUNCHERS = {
    "joblib": "hydra_joblib_launcher",
    "slurm": "hydra_submitit_launcher",
    "submitit_slurm": "hydra_submitit_launcher",
    "submitit_local": "hydra_submitit_launcher",
}
# Variables of the launchers that start several processes. Only the first of several processes reads the run folder.
RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")


def config_dir() -> str:
    """Return the folder of the configs: dir/configs in an installed wheel, configs/ beside dir/ in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "configs"
    return str(installed if installed.is_dir() else package.parent / "configs")


def is_user_error(error: Exception) -> bool:
    """Return whether an error is a message of this package or of its configs, rather than a bug.

    Messages are the errors about values, files and the state of a folder that code of this package raises.
    """
    if isinstance(error, OmegaConfBaseException):
        return True
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    package = Path(__file__).resolve().parents[1]
    raised_here = trace is not None and Path(trace.tb_frame.f_code.co_filename).resolve().is_relative_to(package)
    return raised_here and isinstance(error, ValueError | FileNotFoundError | RuntimeError | ImportError)


@hydra.main(config_path=config_dir(), config_name="train", version_base="1.3")
def _run(cfg: DictConfig) -> float | None:
    context = HydraConfig.get()
    choices = context.runtime.choices
    folder = RunFolder(Path(context.runtime.output_dir))
    if cfg.name == UNNAMED:
        # The same name as in the path of the folder.
        cfg.name = run_name(cfg.name, choices["data"], choices["model"])
    if context.mode == RunMode.MULTIRUN and folder.finished:
        print(f"finished before, skipped: {folder.path}")
        return None
    run_info: dict[str, Any] = {
        "experiment": choices.get("experiment"),
        "method": choices["method"],
        "overrides": list(context.overrides.task),
    }
    try:
        refuse_early(cfg, folder)
        check_overrides(cfg, run_info["overrides"])
        unused = unused_overrides(cfg, run_info["overrides"])
        if unused:
            print(f"method={run_info['method']} trains no network and does not use {', '.join(unused)}")

        from torch.distributed.elastic.multiprocessing.errors import record

        from dir.recipe.train import train

        # torchrun then names the process that failed first, with its error.
        return record(train)(cfg, folder, run_info)
    except Exception as error:
        if os.environ.get("HYDRA_FULL_ERROR") or not is_user_error(error):
            raise
        # Hydra prints "Error executing job with overrides" before every exception, but not before SystemExit.
        raise SystemExit(str(error)) from error
    finally:
        folder.remove_if_empty()
        # Trainer and module refer to each other; the next run of a sweep needs their memory.
        gc.collect()
        torch: Any = sys.modules.get("torch")  # missing after a refusal
        if torch is not None and torch.cuda.is_available():
            torch.cuda.empty_cache()


def refuse_early(cfg: DictConfig, folder: RunFolder) -> None:
    """Raise the errors about settings and about the run folder that need neither torch nor Lightning.

    :func:`dir.recipe.train.train` makes the same checks, for callers that compose a config by themselves.
    """
    check_settings(cfg)
    check(cfg)
    if not any(name in os.environ for name in RANKS):
        config: Any = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)
        folder.check(config["resume"], config)


def check_launcher(arguments: Sequence[str]) -> None:
    """End the process if the package of the launcher is missing; Hydra would only list the launchers that it has."""
    chosen = [line.partition("=")[2] for line in arguments if line.startswith("hydra/launcher=")]
    for name in chosen:
        package = _LAUNCHERS.get(name)
        if package is not None and not _is_installed(package):
            advice = 'pip install "deep-imbalanced-regression[launchers]".'
            sys.exit(message("hydra/launcher", f"the package {package.replace('_', '-')} is missing", name, advice))


def _is_installed(plugin: str) -> bool:
    try:
        return find_spec(f"hydra_plugins.{plugin}") is not None
    except ModuleNotFoundError:  # no plugin of Hydra is installed
        return False


def train_main() -> None:
    """Train: ``+experiment=NAME method=M seed=S key=value ...``, sweeps with ``-m``. Hydra reads ``sys.argv``."""
    register_configs()
    # Hydra prints its own help only beside a complete config.
    experiments = sorted(path.stem for path in (Path(config_dir()) / "experiment").glob("*.yaml"))
    usage = (
        f"usage: {program('train')} [-m] +experiment=NAME [method=M] [seed=S] [key=value ...]\n"
        f"NAME: {', '.join(experiments)}\n"
        "-m: a run for each combination of values, such as method=vanilla,lds seed=0,1,2\n"
        "or: retrain=RUN [key=value ...], which trains a finished run again from its own config"
    )
    answer_help(sys.argv[1:], usage)
    if not sys.argv[1:]:
        sys.exit(usage)
    check_launcher(sys.argv[1:])
    if any(argument.startswith(RETRAIN) for argument in sys.argv[1:]):
        try:
            retrain(sys.argv[1:], any(name in os.environ for name in RANKS))
        except Exception as error:
            if os.environ.get("HYDRA_FULL_ERROR") or not is_user_error(error):
                raise
            sys.exit(str(error))
        return
    sweep = any(argument in ("-m", "--multirun") for argument in sys.argv[1:])
    sys.argv = [sys.argv[0], *quote_values(sys.argv[1:], sweep)]
    _run()


def evaluate_main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables of a checkpoint, as its run did: ``ckpt=PATH [trust=true] [key=value ...]``.

    A run folder is data: the targets in its config.yaml must be listed in dir/recipe/targets.py. ``trust=true`` lifts
    this limit, for a run of the user's own classes. The config of a run folder that is trusted can run any code.

    Args:
        arguments: arguments of the command line. Default: those of the process.

    Raises:
        SystemExit: if an argument is not ``key=value``, if ``ckpt`` is missing, or if the run cannot be evaluated.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    usage = (
        f"usage: {program('evaluate')} ckpt=RUN (or RUN/checkpoints/best.ckpt) [trust=true]\n"
        "       [data.path=... key=value ...]"
    )
    answer_help(arguments, usage)
    values = {"ckpt": "", "trust": "false"}
    overrides = []
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key in values:
            values[key] = value
        else:
            overrides.append(argument)
    if any("=" not in argument for argument in arguments) or not values["ckpt"]:
        sys.exit(usage)
    if values["trust"] not in ("true", "false"):
        sys.exit(message("trust", "expected true or false", values["trust"]))
    register_configs()
    checkpoint, trust = Path(values["ckpt"]), values["trust"] == "true"
    try:
        load_config(model_file(checkpoint), overrides, trust)

        from dir.recipe.evaluate import evaluate_checkpoint
        from dir.recipe.quiet import quiet_lightning

        quiet_lightning()
        evaluate_checkpoint(checkpoint, overrides, trust)
    except Exception as error:
        if os.environ.get("HYDRA_FULL_ERROR") or not is_user_error(error):
            raise
        sys.exit(str(error))
