"""The targets that a run folder's config.yaml may build, and the reader of such a file.

A run folder may come from somebody else, so its config.yaml is data: only the targets listed here are built, and
nothing in the file is interpolated. Training composes a config from the user's own configs/ and has no such limits.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from omegaconf import DictConfig, OmegaConf

from dir._checks import message
from dir.bundle.arguments import ESTIMATOR
from dir.recipe.families import FAMILIES

# Override of scripts/evaluate.py that names a file of other test rows.
TEST_FILE = "data.test_path="


def _names(module: str, names: str) -> set[str]:
    return {f"{module}.{name}" for name in names.split()}


TARGETS = frozenset(
    _names("dir", "LDS DenseWeight FDS ProbabilisticFDS CMixup Relevance LabelPrior LabelCells")
    | _names("dir.costs", "SquaredCost LinearCost LinearCost.of_quantile UtilityCost")
    | _names("dir.LabelBins", "uniform integers from_edges")
    | _names("dir.losses", "WeightedL1 WeightedMSE WeightedHuber FocalR BMC BNI GAI RegressionByClassification")
    | _names(
        "dir.losses",
        "ConR CostLoss DistLoss EvidentialLoss HistogramLoss OrdinalEntropy RankSim RankNContrast SRL UVOTE",
    )
    | _names("dir.models", "LinearHead NormedHead ClassificationHead EvidentialHead ExpertsHead HistogramHead")
    | _names("dir.models", "PriorHead")
    | _names("dir.models", "BiLSTMPairEncoder ConvEncoder GridEncoder MLPEncoder PairMLPEncoder ResNetEncoder")
    | _names("dir.models", "ResNetMapEncoder")
    | _names("dir.models", "TabMEncoder TransformerPairEncoder HistGBDT LightGBMTrees CatBoostTrees")
    | _names("dir.models", "GRUEncoder TCNEncoder TextMLPEncoder TimmEncoder TransformerTextEncoder UNetEncoder")
    | _names("dir.data", "AgeSyntheticData STSSyntheticData CsvImages NpzImages TabularData Protocol automatic_bins")
    | _names("dir.data", "STSBWords STSBEmbeddings STSBTokens TextData LabelledImages NpzMaps MapFiles NYUD2Maps")
    | _names("dir.resampling", "SMOTER SMOGN GaussianNoise RandomOverSampler RandomUnderSampler WERCS REBAGG")
    | _names("dir.recipe.two_stage", "NoLoss")
    | _names("torch", "pow")
    | _names("torch.optim", "SGD Adam AdamW")
    | _names("torch.optim.lr_scheduler", "CosineAnnealingLR MultiStepLR OneCycleLR")
    | _names("lightning", "Trainer")
    | _names("lightning.pytorch.loggers", "TensorBoardLogger CSVLogger WandbLogger")
    | _names("dir.recipe.tracking", "MLflowLogger neptune")
    | _names("sklearn.tree", "DecisionTreeRegressor")
    | _names("sklearn.ensemble", "BaggingRegressor HistGradientBoostingRegressor")
)

# The trainer takes plugins, callbacks, profilers and folders. A file from somebody else only gets these arguments.
ARGUMENTS = {
    "lightning.Trainer": {
        *(
            "accelerator",
            "devices",
            "num_nodes",
            "strategy",
            "precision",
            "sync_batchnorm",
            "use_distributed_sampler",
        ),
        *("max_epochs", "min_epochs", "max_steps", "min_steps", "check_val_every_n_epoch", "val_check_interval"),
        *("limit_train_batches", "limit_val_batches", "limit_test_batches", "overfit_batches"),
        *("gradient_clip_val", "gradient_clip_algorithm", "accumulate_grad_batches", "deterministic", "benchmark"),
        *("num_sanity_val_steps", "log_every_n_steps", "enable_model_summary", "enable_progress_bar"),
    },
}

# Former targets of parts that have moved: config.yaml of an older run names them.
_MOVED = {
    "dir.bins.LabelBins": "dir.LabelBins",
    "dir.lds.LDS": "dir.LDS",
    "dir.denseweight.DenseWeight": "dir.DenseWeight",
    "dir.mixup.CMixup": "dir.CMixup",
    "dir.relevance.Relevance": "dir.Relevance",
    "dir.fds.FDS": "dir.FDS",
    "dir.fds.layer.FDS": "dir.FDS",
    "dir.fds.ProbabilisticFDS": "dir.ProbabilisticFDS",
    "dir.fds.probabilistic.ProbabilisticFDS": "dir.ProbabilisticFDS",
    "dir.vir.ProbabilisticFDS": "dir.ProbabilisticFDS",
    "dir.data.base.automatic_bins": "dir.data.automatic_bins",
    "dir.recipe.stages.NoLoss": "dir.recipe.two_stage.NoLoss",
}
# Losses, heads, encoders and data modules were named by the module that defines them: drop that module's name.
_IN_MODULES = re.compile(r"^(dir\.(?:losses|models|data|resampling))(?:\.[a-z_0-9]+)+\.(\w+)$")


def current_target(target: str) -> str:
    """Return the present name of a target that a config of an older version may name.

    Example:
        >>> current_target("dir.losses.balanced_mse_gai.GAI"), current_target("dir.bins.LabelBins.uniform")
        ('dir.losses.GAI', 'dir.LabelBins.uniform')
    """
    for former, present in _MOVED.items():
        if target == former or target.startswith(f"{former}."):
            return present + target.removeprefix(former)
    public = _IN_MODULES.sub(r"\1.\2", target)
    return public if public in TARGETS else target


def upgrade(config: dict[str, Any]) -> dict[str, Any]:
    """Return the config of an older run with the present names of its targets and keys."""
    upgraded: dict[str, Any] = _map_targets(config)
    task = upgraded.get("task")
    if isinstance(task, dict) and "family" not in task and isinstance(task.get("loss"), dict):
        plain = {family.loss: name for name, family in FAMILIES.items()}
        task["family"] = plain.get(task["loss"].get("_target_"), "mse")
    return upgraded


def _map_targets(node: Any) -> Any:
    if isinstance(node, list):
        return [_map_targets(item) for item in node]
    if not isinstance(node, dict):
        return node
    mapped = {key: _map_targets(value) for key, value in node.items()}
    if isinstance(mapped.get("_target_"), str):
        mapped["_target_"] = current_target(mapped["_target_"])
    return mapped


def model_file(path: Path) -> Path:
    """Return the file of a run folder's evaluated model; any other path as it is."""
    estimator = path / "model" / ESTIMATOR
    if not path.is_dir():
        return path
    return estimator if estimator.is_file() else path / "checkpoints" / "best.ckpt"


def load_config(checkpoint: Path, overrides: list[str], trust: bool = False) -> DictConfig:
    """Return the config of the run that wrote a checkpoint, with ``key=value`` overrides of existing keys.

    An override ``data.test_path=FILE`` is skipped: it names rows to evaluate and is no key of the config.

    Raises:
        FileNotFoundError: the checkpoint is missing, or config.yaml in its run folder.
        ValueError: an override names a key that the config does not have, or ``trust`` is false and the config is
            more than data, see :func:`read_config`.
    """
    if not checkpoint.is_file():
        raise FileNotFoundError(message("ckpt", f"there is no file {checkpoint}"))
    path = checkpoint.resolve().parents[1] / "config.yaml"
    if not path.is_file():
        advice = "Keep the file in its run folder."
        raise FileNotFoundError(message("ckpt", f"the config of its run is missing at {path}", advice=advice))
    return read_config(path, trust, [line for line in overrides if not line.startswith(TEST_FILE)])


def read_config(path: Path, trust: bool = False, overrides: Iterable[str] = ()) -> DictConfig:
    """Return the config in a run folder's config.yaml, with the present names of its targets.

    Args:
        path: the file.
        trust: whether the file may name any target and interpolate. Such a file runs code of its author's choice.
        overrides: ``key=value`` lines of the user, which replace values of the file. They are not restricted.

    Raises:
        ValueError: the file is no config, or an override names a key that the file lacks, or ``trust`` is false and
            the file names a target outside :data:`TARGETS`, passes arguments that can reach beyond the run, or
            contains an interpolation.
    """
    try:
        content = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except Exception as error:  # YAML and OmegaConf raise several types
        problem = f"the file is no config ({str(error).splitlines()[0]})"
        raise ValueError(message(str(path), problem)) from error
    if not isinstance(content, dict):
        raise ValueError(message(str(path), "expected a mapping of keys to values", type(content).__name__))
    config = upgrade({str(key): value for key, value in content.items()})
    overrides = list(overrides)
    if not trust:
        own = {line.partition("=")[0] for line in overrides}
        _check_untrusted(_without(config, own), str(path), "")
    cfg = OmegaConf.create(config)
    OmegaConf.set_struct(cfg, True)
    try:
        merged = OmegaConf.merge(cfg, OmegaConf.from_dotlist(overrides))
    except Exception as error:  # OmegaConf raises several types
        raise ValueError(message("overrides", f"{' '.join(overrides)} does not fit {path} ({error})")) from error
    assert isinstance(merged, DictConfig)
    return merged


def _without(node: Any, keys: set[str], key: str = "") -> Any:
    """Return a config without the plain values under the dotted ``keys``."""
    if not isinstance(node, dict):
        return node
    inner = {name: (value, f"{key}.{name}" if key else str(name)) for name, value in node.items()}
    return {
        name: _without(value, keys, path)
        for name, (value, path) in inner.items()
        if path not in keys or isinstance(value, dict | list)
    }


def _check_untrusted(node: Any, file: str, key: str) -> None:
    """Raise a ValueError for anything in a config that is more than data."""

    def refuse(name: str, problem: str, got: Any) -> NoReturn:
        advice = "Set trust=true on the command line if you wrote this file or trust its author: it can run any code."
        raise ValueError(message(f"{file}: {name}", problem, got, advice))

    if isinstance(node, str) and "${" in node:
        refuse(key, "interpolations are not resolved in a run folder", node)
    if key == "data.cache_dir" and node is not None and not _in_user_cache(str(node)):
        refuse(key, "a run folder may only write to the cache of the user", node)
    if isinstance(node, list):
        for number, item in enumerate(node):
            _check_untrusted(item, file, f"{key}[{number}]")
    if not isinstance(node, dict):
        return

    def path(name: Any) -> str:
        return f"{key}.{name}" if key else str(name)

    for name, value in node.items():
        if "${" in str(name):
            refuse(path(name), "interpolations are not resolved in a run folder", name)
        if str(name) in ("_args_", "_recursive_", "_convert_"):
            refuse(path(name), "a run folder does not use this key", value)
        _check_untrusted(value, file, path(name))
    if "_target_" not in node:
        return
    target = node["_target_"]
    if not isinstance(target, str) or target not in TARGETS:
        refuse(path("_target_"), "not a target that a run folder may build", target)
    for name, value in node.items():
        if name not in ARGUMENTS.get(target, node) and not str(name).startswith("_"):
            refuse(path(name), f"an argument that a run folder may not pass to {target}", value)
        if target in ARGUMENTS and isinstance(value, dict):
            refuse(path(name), "expected a plain value", value)


def _in_user_cache(folder: str) -> bool:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").resolve()
    return Path(folder).expanduser().resolve().is_relative_to(cache)
