"""Boosted trees of LightGBM and CatBoost, with the interface of HistGBDT. They need the extra ``trees``.

Each library keeps its own defaults, except for the number of trees.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from dir.models.boosted_trees import BoostedTrees, Monitor, Rows
from dir.models.tree_ensemble import TreeEnsemble, from_catboost, from_lightgbm


class LightGBMTrees(BoostedTrees):
    """Gradient boosting of LightGBM. After the fit, the trees are plain arrays and LightGBM is not used any more.

    Args:
        learning_rate, num_leaves, min_child_samples, reg_lambda: see :class:`lightgbm.LGBMRegressor`.
        max_iter, patience, monitor, random_state: see :class:`~dir.models.BoostedTrees`.
    """

    package = "lightgbm"
    max_categories = None

    def __init__(
        self,
        learning_rate: float = 0.1,
        num_leaves: int = 31,
        min_child_samples: int = 20,
        reg_lambda: float = 0.0,
        max_iter: int = 2000,
        patience: int = 50,
        monitor: Monitor = "mse",
        random_state: int | None = None,
    ) -> None:
        self.learning_rate = learning_rate
        self.num_leaves = num_leaves
        self.min_child_samples = min_child_samples
        self.reg_lambda = reg_lambda
        self.max_iter = max_iter
        self.patience = patience
        self.monitor = monitor
        self.random_state = random_state

    def _fit(self, train: Rows, val: Rows) -> None:
        import lightgbm

        settings = {
            "objective": "regression",
            "metric": {"mse": "l2", "mae": "l1"}[self.monitor],
            "learning_rate": self.learning_rate,
            "num_leaves": self.num_leaves,
            "min_data_in_leaf": self.min_child_samples,
            "lambda_l2": self.reg_lambda,
            "seed": 0 if self.random_state is None else self.random_state,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": _threads(),
            "verbosity": -1,
        }
        rows = lightgbm.Dataset(
            train.inputs,
            train.labels,
            weight=train.weights,
            categorical_feature=list(range(train.categories)),
            params={"verbosity": -1},
        )
        validation = lightgbm.Dataset(val.inputs, val.labels, reference=rows)
        history: dict[str, dict[str, list[float]]] = {}
        booster = lightgbm.train(
            settings,
            rows,
            num_boost_round=self.max_iter,
            valid_sets=[validation],
            valid_names=["val"],
            callbacks=[
                lightgbm.early_stopping(self.patience, verbose=False),
                lightgbm.record_evaluation(history),
            ],
        )
        self.iterations_ = len(next(iter(history["val"].values())))
        self.best_iteration_ = booster.best_iteration
        self.trees_: TreeEnsemble = from_lightgbm(booster.dump_model(num_iteration=self.best_iteration_))


class CatBoostTrees(BoostedTrees):
    """Gradient boosting of CatBoost. After the fit, the trees are plain arrays and CatBoost is not used any more.

    Args:
        learning_rate, depth, l2_leaf_reg: see :class:`catboost.CatBoostRegressor`. A learning rate of None is chosen
            by CatBoost from the number of rows and trees.
        max_iter, patience, monitor, random_state: see :class:`~dir.models.BoostedTrees`.
    """

    package = "catboost"

    def __init__(
        self,
        learning_rate: float | None = None,
        depth: int = 6,
        l2_leaf_reg: float = 3.0,
        max_iter: int = 2000,
        patience: int = 50,
        monitor: Monitor = "mse",
        random_state: int | None = None,
    ) -> None:
        self.learning_rate = learning_rate
        self.depth = depth
        self.l2_leaf_reg = l2_leaf_reg
        self.max_iter = max_iter
        self.patience = patience
        self.monitor = monitor
        self.random_state = random_state

    def _fit(self, train: Rows, val: Rows) -> None:
        import catboost

        booster = catboost.CatBoostRegressor(
            iterations=self.max_iter,
            learning_rate=self.learning_rate,
            depth=self.depth,
            l2_leaf_reg=self.l2_leaf_reg,
            eval_metric={"mse": "RMSE", "mae": "MAE"}[self.monitor],
            early_stopping_rounds=self.patience,
            use_best_model=True,
            random_seed=self.random_state,
            thread_count=_threads(),
            allow_writing_files=False,
            verbose=False,
        )
        booster.fit(train.inputs, train.labels, sample_weight=train.weights, eval_set=(val.inputs, val.labels))
        self.iterations_ = len(next(iter(booster.evals_result_["validation"].values())))
        self.best_iteration_ = booster.tree_count_
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.json"
            booster.save_model(str(path), format="json")
            self.trees_: TreeEnsemble = from_catboost(json.loads(path.read_text(encoding="utf-8")))


def _threads() -> int:
    """Return the number of threads that torch uses, which OMP_NUM_THREADS sets for a run."""
    import torch

    return torch.get_num_threads()
