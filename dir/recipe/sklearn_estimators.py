"""Runs of scikit-learn's regressors on a table: the same rows, metrics and run folder as a network's."""

from __future__ import annotations

import time
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig
from sklearn.base import BaseEstimator, RegressorMixin, clone

from dir.data.tables import TableEncoder
from dir.data.tabular import TabularData
from dir.recipe.build import build_data, make, standardisation
from dir.recipe.evaluate import Predictions, finish_run, summarise
from dir.recipe.run_folder import RunFolder
from dir.recipe.summary import Groups


class EncodedRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A regressor behind the encoding of the columns and the standardisation of the labels.

    An ensemble of these resamples rows whose categories are still categories.

    Args:
        regressor: a scikit-learn regressor, cloned by ``fit``.
        encode: the fitted encoding of a frame's columns.
        columns: names of the columns, for ensembles that turn frames into arrays.
        offset, scale: the regressor sees ``(label - offset) / scale``. scale > 0.

    State:
        After ``fit``: ``regressor_``.
    """

    def __init__(
        self,
        regressor: Any,
        encode: TableEncoder,
        columns: list[str],
        offset: float = 0.0,
        scale: float = 1.0,
    ) -> None:
        self.regressor = regressor
        self.encode = encode
        self.columns = columns
        self.offset = offset
        self.scale = scale

    def fit(self, X: Any, y: Any) -> EncodedRegressor:  # noqa: N803
        """Fits a clone of the regressor; returns itself."""
        targets = (np.asarray(y, dtype=np.float64) - self.offset) / self.scale
        self.regressor_ = clone(self.regressor).fit(self._inputs(X), targets)
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        """Predictions in the labels' units, [N]."""
        predictions: NDArray[np.float64] = self.regressor_.predict(self._inputs(X)) * self.scale + self.offset
        return predictions

    def _inputs(self, X: Any) -> NDArray[np.float32]:  # noqa: N803
        frame = X if isinstance(X, pd.DataFrame) else pd.DataFrame(X, columns=self.columns)
        inputs: NDArray[np.float32] = self.encode(frame).numpy()
        return inputs


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
        make(cfg.method.estimator),
        cast("TabularData", data).encode,
        list(features.columns),
        offset,
        scale,
    )
    if cfg.method.ensemble is not None:
        model = make(cfg.method.ensemble, estimator=model)
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
    return finish_run(cfg, folder, facts, splits, Predictions(truth, predictions, None), seconds, "cpu")
