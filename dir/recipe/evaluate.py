"""Evaluation of a checkpoint in its run folder, for scripts/evaluate.py."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from hydra.utils import get_object, instantiate
from omegaconf import DictConfig

from dir._checks import message
from dir.bundle import load
from dir.bundle.description import DESCRIPTION, ESTIMATOR, Description, read
from dir.data.base import RegressionData
from dir.data.csv_reading import as_options
from dir.metrics import ShotMetrics
from dir.recipe.build import build, build_data
from dir.recipe.checkpoints import mismatches, read_checkpoint
from dir.recipe.cost import make_cost
from dir.recipe.evaluate_file import evaluate_file
from dir.recipe.kept_encoding import check_encoding, kept_encoding
from dir.recipe.module import RegressionModule
from dir.recipe.predictions import evaluate_splits
from dir.recipe.restored import METRIC_BINS
from dir.recipe.run_data import read_log1p, read_split
from dir.recipe.run_folder import RunFolder
from dir.recipe.same_settings import MAY_CHANGE
from dir.recipe.several_targets import several_targets
from dir.recipe.sklearn_estimators import evaluate_estimator
from dir.recipe.summary import Groups, print_summary
from dir.recipe.targets import TEST_FILE, load_config, model_file

_DIALECT = ("sep", "decimal", "thousands", "encoding", "na_values", "quoting")
_CSV_OPTIONS = {f"data.{name}" for name in _DIALECT}


def evaluate_checkpoint(checkpoint: Path, overrides: list[str], trust: bool = False) -> dict[str, Groups]:
    """Print and return the shot metrics of a checkpoint on the splits val and test of its run.

    The rows of each split are those of the run, found by their content: the order of the rows in a file does not
    matter. Inputs are encoded by the encoding in the model bundle of the run.

    With ``data.test_path=FILE`` the rows of that file are evaluated alone, by the bundle and without the data of the
    run. For another checkpoint than the best, with further overrides or without a bundle, the data of the run is
    needed, and only tables can be evaluated.

    A scikit-learn regressor is read from the model bundle of its run, by the bundle's rules for files of strangers.

    Args:
        checkpoint: run folder; or a file in its ``checkpoints/``, or ``model/estimator.skops``.
        overrides: ``key=value`` for keys of the run's config, see :func:`dir.recipe.targets.load_config`.
        trust: whether the run's config may build any target, such as a user's own data module. Such a config runs
            code of its author's choice.

    Raises:
        ValueError: rows of the run are missing or changed, or there are new rows; the message counts them. Or an
            override of ``method.head.power``, which the weights would replace. Or another file of texts or pictures
            with several targets.
    """
    if any(line.startswith("method.head.power=") for line in overrides):
        problem = "the power of a trained head is chosen on validation, or read from the checkpoint"
        advice = "dir-tradeoff prints the errors at other powers."
        raise ValueError(message("method.head.power", problem, advice=advice))
    checkpoint = model_file(checkpoint)
    test_files = [line.removeprefix(TEST_FILE) for line in overrides if line.startswith(TEST_FILE)]
    overrides = [line for line in overrides if not line.startswith(TEST_FILE)]
    cfg = load_config(checkpoint, overrides, trust)
    if "pretrained" in cfg.model.encoder:
        # The weights are those of the checkpoint: none are fetched.
        cfg.model.encoder.pretrained, cfg.model.encoder.weights = False, None
    if cfg.get("noise") is not None:
        # Weights of training rows change no evaluation, and their file may be gone.
        cfg.noise = None
    run = checkpoint.resolve().parents[1]
    bundle = RunFolder(run).model
    about = read(bundle)[0] if (bundle / DESCRIPTION).is_file() else None
    # A bundle does not know the cost of the run.
    suffices = about is not None and cfg.get("cost") is None and _bundle_suffices(about, checkpoint, overrides, trust)
    if test_files and suffices:
        groups = _evaluate_by_bundle(bundle, cfg, Path(test_files[-1]), overrides)
        print_summary({"test": groups}, cfg.task.unit)
        return {"test": groups}
    if test_files:
        _check_test_file(cfg, test_files[-1])
    split, log1p = read_split(run), read_log1p(run)

    def set_up(data: RegressionData) -> None:
        data.kept_log1p = log1p
        data.kept_encoding = None if about is None else kept_encoding(bundle, about)
        if split is None:
            data.setup()
        else:
            data.restore_split(split)
        check_encoding(data, bundle, about)
        if test_files:
            data.replace_test(test_files[-1])

    if cfg.method.estimator is not None:
        data, _, labels, metrics = build_data(cfg, set_up)
        assert isinstance(metrics, ShotMetrics)  # several targets are refused
        estimator, cost = load(checkpoint.resolve().parent).estimator, make_cost(cfg, labels.first(2))
        results = evaluate_estimator(estimator, data, metrics, cost=cost)
    else:
        parts = build(cfg, set_up)
        load_weights(parts.module, checkpoint)
        # Only a trainer resolves trainer.accelerator=auto to the device of this machine.
        trainer = parts.trainer(logger=False, enable_progress_bar=False)
        results = evaluate_splits(parts, trainer.strategy.root_device)
    shown = {"test": results.metrics["test"]} if test_files else results.metrics
    print_summary(shown, cfg.task.unit)
    return shown


def _check_test_file(cfg: DictConfig, path: str) -> None:
    """Raise a ValueError, before data is read, for several targets of other data than a table."""
    targets = several_targets(cfg)
    # The bundle of several targets has no bins for its metrics, and only tables replace their test rows.
    if targets and get_object(cfg.data["_target_"]).replace_test is RegressionData.replace_test:
        problem = f"of several targets, only tables evaluate another file, and the run has {', '.join(targets)}"
        advice = "dir-predict writes the predictions beside the labels of the file; or train one run for each target."
        raise ValueError(message("data.test_path", problem, path, advice))


def _bundle_suffices(about: Description, checkpoint: Path, overrides: list[str], trust: bool) -> bool:
    """Return whether the bundle alone gives the evaluation of another file that the command asks for."""
    folder = RunFolder(checkpoint.resolve().parents[1])
    best = checkpoint.name == ESTIMATOR or checkpoint.resolve() == folder.best_or_last.resolve()
    # A bundle does not build classes of the user's own, which trust=true is for.
    known = all(line.partition("=")[0] in MAY_CHANGE | _CSV_OPTIONS | {"data.outside"} for line in overrides)
    return best and known and not trust and METRIC_BINS in about.run


def _evaluate_by_bundle(bundle: Path, cfg: DictConfig, path: Path, overrides: list[str]) -> Groups:
    encoder = cfg.data.get("encoder")
    model = load(bundle, text_encoder=encoder if encoder and Path(encoder).is_dir() else None)
    inputs = model.encoder
    names = [name for name in _DIALECT if any(line.startswith(f"data.{name}=") for line in overrides)]
    if names and inputs.csv is not None:
        inputs.csv = as_options(**asdict(inputs.csv) | {name: cfg.data[name] for name in names})
    # Without data.path the names of pictures start from the folder of their csv.
    pictures = Path(cfg.data.path) if "csv" in cfg.data and cfg.data.path else None
    trainer = instantiate(cfg.trainer, _convert_="all", logger=False, enable_progress_bar=False)
    print(f"{path}: encoded and predicted by {bundle}")
    outside = bool(cfg.data.get("outside", False))
    return evaluate_file(model, path, pictures, trainer.strategy.root_device, outside)


def load_weights(module: RegressionModule, checkpoint: Path) -> int:
    """Load a checkpoint's weights into the module and return the checkpoint's epoch, counted from one.

    Raises:
        ValueError: the file cannot be read, or holds other names or shapes; nothing is loaded then.
    """
    state = read_checkpoint(checkpoint)
    # The bins of the metrics belong to the labels of the evaluated data, which may differ from the run's.
    saved = {key: value for key, value in state["state_dict"].items() if not key.startswith("metrics.")}
    own = {key: value for key, value in module.state_dict().items() if not key.startswith("metrics.")}
    wrong = mismatches(own, saved)
    if wrong:
        raise ValueError(
            message(str(checkpoint), f"the weights do not fit the model of the run's config: {', '.join(wrong[:5])}")
        )
    module.load_state_dict(saved, strict=False)
    return int(state["epoch"]) + 1
