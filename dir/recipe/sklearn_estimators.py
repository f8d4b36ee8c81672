"""Runs of scikit-learn regressors on a table, with the rows, metrics and run folder of a network's run."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from lightning import seed_everything
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from dir._checks import message
from dir.costs import Cost
from dir.data.base import RegressionData
from dir.data.category_codes import CodeEncoder
from dir.data.describe import format_description
from dir.data.tabular import TabularData
from dir.metrics import ShotMetrics
from dir.models import BoostedTrees, EncodedRegressor, EncodedTrees
from dir.recipe.build import SetUp, build_data, target_units
from dir.recipe.cost import make_cost
from dir.recipe.export_bundle import save_estimator
from dir.recipe.finish import Training, finish_run
from dir.recipe.nodes import instantiate_with
from dir.recipe.parts import RunSettings, logger_of, make_logger
from dir.recipe.prediction_file import prediction_arrays
from dir.recipe.predictions import Predictions, Results, summarise_split
from dir.recipe.row_weights import importance_scale
from dir.recipe.run_data import check_same_data, record_of
from dir.recipe.run_folder import RunFolder
from dir.recipe.run_info import settings_info
from dir.recipe.tracking.choose import run_log
from dir.recipe.tracking.facts import RunFacts
from dir.recipe.tracking.run_log import RunLog
from dir.reweighter import Reweighter


@dataclass(frozen=True)
class EstimatorRun:
    """A run of a scikit-learn regressor, built and checked; nothing is written yet.

    Args:
        data: table, set up.
        model: regressor to fit on the training rows.
        lds: fitted reweighter of the training rows for boosted trees, or None.
        cost: cost of raw predictions and labels, for the metrics; or None.
        log: log of the run, where its logger takes runs without epochs; or None.
        metrics: shot metrics, in raw units.
        settings: plain settings of the run.
        config: resolved config, for config.yaml.
        folder: run folder, checked.
    """

    data: RegressionData
    model: Any
    metrics: ShotMetrics
    settings: RunSettings
    config: dict[str, Any]
    folder: RunFolder
    lds: Reweighter | None = None
    cost: Cost | None = None
    log: RunLog | None = None

    def fit(self, run_info: dict[str, Any]) -> float:
        """Fit the regressor, finish the run folder and return ``val/all/<monitor>``.

        The run has no checkpoint: an interrupted run starts again with ``resume=true``.

        Args:
            run_info: further entries of metrics.json, see :func:`dir.recipe.train.train`.
        """
        with self.log or nullcontext():
            return self._fit(run_info)

    def _fit(self, run_info: dict[str, Any]) -> float:
        data, model, folder, log = self.data, self.model, self.folder, self.log
        record = record_of(data)
        if record is not None:
            check_same_data(record, folder.path)
        if log is not None:
            log.connect()
        folder.start(self.config, record)
        if record is not None:
            print(format_description(record.description))
        if log is not None:
            log.start(RunFacts(self.config, folder.path, record, run_info))
        began = time.perf_counter()
        try:
            fitted = self._fit_model()
        except ValueError as error:
            # InvalidParameterError, which scikit-learn raises when it fits; our own errors name their keys already.
            if not type(error).__module__.startswith("sklearn."):
                raise
            advice = "Change the setting under method.estimator or method.ensemble."
            raise ValueError(message("method", str(error).rstrip("."), advice=advice)) from error
        training = Training(time.perf_counter() - began, "cpu", {})
        results = evaluate_estimator(model, data, self.metrics, fitted, self.cost)
        save_estimator(folder.model, model, data, self.settings, results, self.metrics)
        if log is not None:
            log.results(results, self.config, step=0)
        value = finish_run(
            folder,
            self.settings,
            training,
            results,
            prediction_arrays(results, self.metrics, data),
            run_info | settings_info(self.settings, record, None, self.metrics),
        )
        if log is not None:
            log.finish(folder.path)
        return value

    def _fit_model(self) -> dict[str, Any]:
        """Fit the regressor. Return the values chosen on validation, for metrics.json: numbers of boosted trees."""
        features, targets = self.data.table("train")
        if not isinstance(self.model, EncodedTrees):
            self.model.fit(features, targets)
            return {}
        weights = self._weights()
        rows, labels = self.data.table("val")
        self.model.fit(features, targets, weights, X_val=rows, y_val=labels)
        trees = self.model.regressor_
        return {"iterations": int(trees.iterations_), "best_iteration": int(trees.best_iteration_)}

    def _weights(self) -> NDArray[Any] | None:
        """Return the weights of the training rows: weights by the label density times importance, or None."""
        weights = None if self.lds is None else self.lds(self.data.labels("train"))
        importance = self.data.importance("train")
        if importance is not None:
            scaled = importance * importance_scale(importance, weights)
            weights = scaled if weights is None else weights * scaled
        return None if weights is None else weights.numpy()


def evaluate_estimator(
    model: Any,
    data: RegressionData,
    metrics: ShotMetrics,
    fitted: dict[str, Any] | None = None,
    cost: Cost | None = None,
) -> Results:
    """Return predictions and shot metrics of a fitted regressor on val and test, or on val alone if test is closed.

    Args:
        model: fitted regressor that predicts raw labels of a frame.
        data: table, set up.
        metrics: shot metrics, in raw units.
        fitted: values chosen on the validation split, for metrics.json.
        cost: cost of raw predictions and labels, for the metrics; or None.
    """
    results = Results({}, {}, fitted or {})
    for split in data.splits[1:]:
        rows = data.table(split)[0]
        predictions = torch.from_numpy(np.asarray(model.predict(rows), np.float64)).to(data.label_dtype)
        found = Predictions(data.labels(split), predictions, None, importance=data.importance(split))
        results.predictions[split] = found
        results.metrics[split] = summarise_split(metrics, found, cost)
    return results


def _categories_for(cfg: DictConfig, estimator: Any) -> DictConfig:
    """Return the config with one-hot categories if the estimator takes no codes, and say what embed then means."""
    if cfg.data.get("categories") != "embed":
        return cfg
    if isinstance(estimator, BoostedTrees) and estimator.max_categories != 0 and cfg.method.ensemble is None:
        print("data.categories=embed: the method trains no network, trees split the categories into two sets")
        return cfg
    print("data.categories=embed: the method trains no network, categories are one-hot columns")
    changed = cfg.copy()
    changed.data.categories = "onehot"
    return changed


def build_estimators(cfg: DictConfig, folder: RunFolder, set_up: SetUp = RegressionData.setup) -> list[EstimatorRun]:
    """Build the single run of ``method.estimator``, inside ``method.ensemble`` where there is one, with its data.

    The trainer, the optimizer, the scheduler and the model of the config are not used, nor is a logger that only
    shows epochs.

    Raises:
        ImportError: the library of the estimator is not installed.
        ValueError: the data is not a table, or the estimator takes no weights and the method has some.
    """
    seed_everything(cfg.seed, workers=True, verbose=False)
    estimator = instantiate_with(cfg.method.estimator)
    boosted = isinstance(estimator, BoostedTrees)
    if boosted:
        estimator.check("method.estimator.")
    elif cfg.method.lds is not None:
        problem = f"{type(estimator).__name__} is not fitted with weights"
        raise ValueError(message("method.weights", problem, cfg.method.get("weights"), "Set method.weights=none."))
    data, (bins,), labels, metrics = build_data(_categories_for(cfg, estimator), set_up)
    assert isinstance(metrics, ShotMetrics)  # several targets are refused
    if data.importance("train") is not None and not (boosted and cfg.method.ensemble is None):
        problem = f"{type(estimator).__name__} is not fitted with the importance of rows"
        raise ValueError(message("method", problem, data.importance_source, "Choose method=hist_gbdt, or a network."))
    # scikit-learn computes in float64.
    units = target_units(cfg.task.target_offset, cfg.task.target_scale, labels, data.log1p, torch.float64)
    columns = list(data.table("train")[0].columns)
    encode = cast("TabularData", data).encode
    if isinstance(encode, CodeEncoder):
        for name, known in encode.encoder.categories.items():
            estimator.check_categories(repr(name), len(known))
    wrap = EncodedTrees if boosted else EncodedRegressor
    model: Any = wrap(estimator, encode, columns, float(units.offset), float(units.scale), units.log1p)
    if cfg.method.ensemble is not None:
        model = instantiate_with(cfg.method.ensemble, estimator=model)
    lds: Reweighter | None = None
    if cfg.method.lds is not None:
        lds = instantiate_with(cfg.method.lds, bins=bins).fit(data.labels("train"))
    config: Any = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)
    log = run_log(make_logger(logger_of(cfg), str(folder.path)))
    if log is not None and not log.takes_estimators:
        log = None
    settings, cost = RunSettings.from_config(cfg), make_cost(cfg, labels.first(2))
    return [EstimatorRun(data, model, metrics, settings, config, folder, lds, cost, log)]
