"""Runs of scikit-learn's regressors on a table: the same rows, metrics and run folder as a network's."""

from __future__ import annotations

import time
from typing import Any, cast

import numpy as np
import torch
from omegaconf import DictConfig

from dir.data.tabular import TabularData
from dir.models import EncodedRegressor
from dir.recipe.build import build_data, instantiate_with, standardisation
from dir.recipe.evaluate import Predictions, finish_run, summarise
from dir.recipe.export_bundle import save_estimator
from dir.recipe.run_folder import RunFolder
from dir.recipe.summary import Groups


def fit_estimator(cfg: DictConfig, folder: RunFolder, facts: dict[str, Any]) -> float:
    """Fits ``method.estimator``, in ``method.ensemble`` where there is one, and leaves the run in its folder.

    There is no checkpoint: an interrupted run starts again with ``resume=true``. The trainer, the optimizer, the
    scheduler, the model and the logger of the config are not used.

    Args:
        cfg, folder, facts: see :func:`dir.recipe.train.train`; the folder is checked already.

    Returns:
        ``val/all/<monitor>``.

    Raises:
        ValueError: data that is no table.
    """
    data, _, labels, metrics = build_data(cfg)
    offset, scale = standardisation(cfg, labels)
    features, targets = data.table("train")
    model: Any = EncodedRegressor(
        instantiate_with(cfg.method.estimator),
        cast("TabularData", data).encode,
        list(features.columns),
        offset,
        scale,
    )
    if cfg.method.ensemble is not None:
        model = instantiate_with(cfg.method.ensemble, estimator=model)
    folder.start(cfg)
    began = time.perf_counter()
    model.fit(features, targets)
    seconds = time.perf_counter() - began
    splits: dict[str, Groups] = {}
    for split in ("val", "test"):
        rows = data.table(split)[0]
        truth = data.labels(split)
        predictions = torch.from_numpy(np.asarray(model.predict(rows), dtype=np.float32))
        splits[split] = summarise(metrics, truth, predictions)
    save_estimator(cfg, folder.model, model, data, splits)
    return finish_run(cfg, folder, facts, splits, Predictions(truth, predictions, None), seconds, "cpu")
