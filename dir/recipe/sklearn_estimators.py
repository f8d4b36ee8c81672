"""Runs of scikit-learn regressors on a table, with the rows, metrics and run folder of a network's run."""

from __future__ import annotations

import time
from typing import Any, cast

import numpy as np
import torch
from lightning import seed_everything
from omegaconf import DictConfig, OmegaConf

from dir.data.describe import format_description
from dir.data.tabular import TabularData
from dir.models import EncodedRegressor
from dir.recipe.build import build_data, instantiate_with, standardisation
from dir.recipe.export_bundle import save_estimator
from dir.recipe.finish import Training, finish_run
from dir.recipe.parts import RunSettings
from dir.recipe.prediction_file import prediction_arrays
from dir.recipe.predictions import Predictions, Results, summarise
from dir.recipe.run_data import check_same_data, record_of
from dir.recipe.run_folder import RunFolder
from dir.recipe.run_info import settings_info


def fit_estimator(cfg: DictConfig, folder: RunFolder, run_info: dict[str, Any]) -> float:
    """Fit ``method.estimator``, inside ``method.ensemble`` where there is one, and finish the run folder.

    The run has no checkpoint: an interrupted run starts again with ``resume=true``. The trainer, the optimizer, the
    scheduler, the model and the logger of the config are not used.

    Args:
        cfg, folder, run_info: see :func:`dir.recipe.train.train`; the folder is checked already.

    Returns:
        ``val/all/<monitor>``.

    Raises:
        ValueError: the data is not a table.
    """
    seed_everything(cfg.seed, workers=True, verbose=False)
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
    record = record_of(data)
    if record is not None:
        check_same_data(record, folder.path)
    config: Any = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)
    folder.start(config, record)
    if record is not None:
        print(format_description(record.description))
    began = time.perf_counter()
    model.fit(features, targets)
    seconds = time.perf_counter() - began
    results = Results({}, {})
    for split in ("val", "test"):
        rows = data.table(split)[0]
        predictions = torch.from_numpy(np.asarray(model.predict(rows), dtype=np.float32))
        results.predictions[split] = Predictions(data.labels(split), predictions, None)
        results.metrics[split] = summarise(metrics, *results.predictions[split])
    settings, training = RunSettings.from_config(cfg), Training(seconds, "cpu", {})
    save_estimator(folder.model, model, data, settings, results.metrics)
    return finish_run(
        folder,
        settings,
        training,
        results,
        prediction_arrays(results, metrics, data),
        run_info | settings_info(settings, record, None),
    )
