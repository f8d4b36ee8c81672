"""ImbalancedRegressor: a small network for tables, with LDS, FDS or a label prior, as a scikit-learn estimator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from dir._checks import check_choice, check_integer, check_interval, check_not_negative, check_positive, message
from dir.distribution import CellDistribution
from dir.fds import FDS
from dir.lds import LDS
from dir.losses.histogram import HistogramLoss
from dir.losses.mse import WeightedMSE
from dir.models.heads import Head, LinearHead
from dir.models.heads_histogram import HistogramHead
from dir.models.mlp import MLPEncoder
from dir.models.regressor import Regressor
from dir.models.target_units import TargetUnits
from dir.sklearn.distributions import DistributionMixin, balanced_power, check_power
from dir.sklearn.inputs import checked_weights, label_bins, weighted_counts
from dir.sklearn.network import TableRows, TrainingSettings, run_in_blocks, seeded, train_network
from dir.sklearn.splitting import validation_rows

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11 on

Method = Literal["vanilla", "lds", "lds_fds", "histogram_prior"]


class ImbalancedRegressor(DistributionMixin, RegressorMixin, BaseEstimator):  # type: ignore[misc]
    r"""A multilayer perceptron for tables of numbers, trained for rare labels.

    ``fit`` standardises the columns and the labels itself. Encode categories before, for example by a
    ``ColumnTransformer`` in a ``Pipeline``. The network is trained with AdamW on a part of the rows; the other part,
    the validation rows, is balanced over the label range and decides when to stop. Rows, labels and weights belong
    together by position. Predictions are an array in the order of the rows.

    Equal settings, rows and ``random_state`` give equal predictions on one machine. PyTorch's random state is
    restored after ``fit``; for that reason several threads train one after the other. The network runs on the CPU.

    Args:
        method: ``"vanilla"``: squared error. ``"lds"`` (default): the same with weights of label distribution
            smoothing. ``"lds_fds"``: LDS, and feature distribution smoothing before the last layer.
            ``"histogram_prior"``: the predicted distribution of the label, corrected by a power of the label density.
        hidden_layer_sizes: widths of the hidden layers, one or more.
        dropout: share of hidden units that are dropped in training, in [0, 1).
        max_epochs: largest number of passes over the training rows.
        learning_rate, weight_decay: of AdamW.
        batch_size: rows of a training step.
        patience: epochs without improvement of the RMSE on the validation rows after which training stops; the
            weights of the best epoch are kept. None: all epochs are trained and the last weights kept.
        validation_fraction: largest share of the rows that validates, in (0, 0.33]. Not read if ``patience`` is None
            and no power is chosen; all rows are trained on then.
        num_bins: number of label bins for LDS, FDS, the validation split and the balanced MAE; whole numbers with a
            range of at most 200 get a bin each.
        power: power of the correction for ``"histogram_prior"``: a number >= 0, or ``"auto"``: the power with the
            lowest balanced MAE on the validation rows.
        random_state: seed, RandomState or None, which draws the split, the first weights, the order of the rows and
            the dropout. None draws a seed from NumPy's global generator, as in scikit-learn.
        verbose: print the error on the validation rows after each epoch.

    State:
        model_: the network. scaler_: of the columns. bins_: the label bins. n_iter_: number of epochs trained.
        best_epoch_: number of the epoch whose weights are kept, from 1. validation_errors_: RMSE on the validation
        rows after each epoch, empty without these rows. n_features_in_, and feature_names_in_ for data frames. For
        ``"histogram_prior"``: power_, and powers_tried_ with the balanced MAE of each power (``power="auto"``).

    Raises:
        ValueError: wrong arguments, missing values, text, too few rows, and a training that diverges.

    Example:
        >>> X = np.random.default_rng(0).normal(size=(300, 2))
        >>> y = np.exp(X[:, 0])
        >>> model = ImbalancedRegressor("histogram_prior", max_epochs=3, random_state=0).fit(X, y)
        >>> model.predict(X[:2], power=0.5).shape, model.predict_interval(X[:2], level=0.8).shape
        ((2,), (2, 2))

    Reference:
        Yang et al., Delving into Deep Imbalanced Regression, ICML 2021 (LDS and FDS); for ``"histogram_prior"`` see
        :class:`dir.models.HistogramHead`.
    """

    def __init__(
        self,
        method: Method = "lds",
        *,
        hidden_layer_sizes: Sequence[int] = (128, 128),
        dropout: float = 0.1,
        max_epochs: int = 200,
        learning_rate: float = 3e-3,
        weight_decay: float = 1e-2,
        batch_size: int = 64,
        patience: int | None = 30,
        validation_fraction: float = 0.13,
        num_bins: int = 50,
        power: float | Literal["auto"] = "auto",
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.method = method
        self.hidden_layer_sizes = hidden_layer_sizes
        self.dropout = dropout
        self.max_epochs = max_epochs
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.num_bins = num_bins
        self.power = power
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:  # noqa: N803
        """Train the network and return self.

        Args:
            X: rows [N, D] of finite numbers, an array or a data frame.
            y: labels [N].
            sample_weight: weights [N] >= 0. They multiply the weights of the labels in the loss, and count in the
                label density, in the scaling and in the RMSE. FDS and the balanced MAE count rows. A row of weight 0
                is as if it were not there.
        """
        self._check()
        validates = self.patience is not None or (self.method == "histogram_prior" and self.power == "auto")
        inputs, labels = validate_data(
            self, X, y, dtype=np.float64, y_numeric=True, ensure_min_samples=3 if validates else 2
        )
        labels = labels.astype(np.float64)
        weights = checked_weights(sample_weight, inputs)
        if weights is not None:
            inputs, labels, weights = inputs[weights > 0], labels[weights > 0], weights[weights > 0]
            validate_data(self, inputs, reset=False, ensure_min_samples=3 if validates else 2)
            weights = weights / weights.mean()
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        is_val = np.zeros(len(labels), dtype=bool)
        if validates:
            every = label_bins(torch.from_numpy(labels), self.num_bins)
            is_val = validation_rows(labels, every, self.validation_fraction, seed)
        own = None if weights is None else weights[~is_val]
        self.scaler_ = StandardScaler().fit(inputs[~is_val], sample_weight=own)
        self.bins_ = label_bins(torch.from_numpy(labels[~is_val]), self.num_bins)
        self._units = _standard_units(labels[~is_val], own)

        def rows(chosen: NDArray[np.bool_]) -> TableRows:
            scaled = torch.from_numpy(self.scaler_.transform(inputs[chosen])).float()
            kept = None if weights is None else torch.from_numpy(weights[chosen])
            return TableRows(scaled, torch.from_numpy(labels[chosen]), kept)

        train, val = rows(~is_val), rows(is_val) if validates else None
        with seeded(seed):
            self._train(train, val)
        self.model_.double().eval()  # in float64, predictions of a row do not depend on the other rows of its batch
        if self.method == "histogram_prior":
            self._choose_power(val)
        return self

    def predict(self, X: Any, power: float | None = None) -> NDArray[np.float64]:  # noqa: N803
        """Return the predictions, [N].

        Args:
            X: rows [N, D].
            power: for ``"histogram_prior"``, the power of the correction, >= 0. Default: ``power_``.
        """
        check_is_fitted(self)
        if self.method == "histogram_prior":
            found = self.predict_distribution(X, power).mean()
        else:
            if power is not None:
                self._check_has_power(power)
            found = self._units.to_raw(self.model_.predict(self._outputs(X)))
        predictions: NDArray[np.float64] = found.numpy()
        return predictions

    def _has_distribution(self) -> bool:
        if self.method == "histogram_prior":
            return True
        problem = "this method predicts no distribution"
        raise AttributeError(message("method", problem, self.method, "Choose method='histogram_prior'."))

    def _check_has_power(self, power: float) -> None:
        if self.method != "histogram_prior":
            problem = f"method={self.method!r} has no power"
            raise ValueError(message("power", problem, power, "Choose method='histogram_prior'."))

    def _check(self) -> None:
        check_choice("method", self.method, get_args(Method))
        if not isinstance(self.hidden_layer_sizes, Sequence) or len(self.hidden_layer_sizes) == 0:
            problem = "expected the widths of one or more layers, such as (64, 64)"
            raise ValueError(message("hidden_layer_sizes", problem, self.hidden_layer_sizes))
        for size in self.hidden_layer_sizes:
            check_integer("hidden_layer_sizes", size)
        for name in ("max_epochs", "batch_size", "num_bins"):
            check_integer(name, getattr(self, name))
        if self.patience is not None:
            check_integer("patience", self.patience, advice="None trains all epochs.")
        check_positive("learning_rate", self.learning_rate)
        check_not_negative("weight_decay", self.weight_decay)
        check_interval("validation_fraction", self.validation_fraction, "(0, 0.33]")
        check_power(self.power)
        if self.power != "auto":
            self._check_has_power(self.power)

    def _train(self, train: TableRows, val: TableRows | None) -> None:
        """Build the network and train it."""
        encoder = MLPEncoder(train.inputs.shape[1], list(self.hidden_layer_sizes), self.dropout, norm="layer")
        weights = train.weights
        counted = torch.ones_like(train.labels) if weights is None else weights
        head: Head = LinearHead(encoder.num_features, self.bins_)
        criterion: WeightedMSE | HistogramLoss = WeightedMSE()
        fds = None
        if self.method == "histogram_prior":
            targets, bins = self._units.to_target(train.labels), self._units.bins(self.bins_)
            head = histogram = HistogramHead(encoder.num_features, bins)
            histogram.fit(targets, bins)
            histogram.prior.fit(targets, histogram.cells, counted)
            criterion = HistogramLoss().fit(targets, bins)
        elif self.method != "vanilla":
            lds = LDS(self.bins_, reweight="sqrt_inverse", sigma=1.0)
            lds.fit_counts(weighted_counts(self.bins_, train.labels, counted))
            weights = counted * lds(train.labels)
        if self.method == "lds_fds":
            fds = FDS(encoder.num_features, self.bins_)
        self.model_ = Regressor(encoder, head, fds)
        settings = TrainingSettings(
            self.max_epochs,
            self.learning_rate,
            self.weight_decay,
            self.batch_size,
            self.patience,
            self.verbose,
        )
        train = train._replace(weights=None if weights is None else weights.float())
        self.validation_errors_ = train_network(self.model_, criterion, self._units, train, val, settings)
        self.n_iter_ = len(self.validation_errors_) if val is not None else self.max_epochs
        stops = self.patience is not None
        self.best_epoch_ = int(np.argmin(self.validation_errors_)) + 1 if stops else self.n_iter_

    def _choose_power(self, val: TableRows | None) -> None:
        """Set ``power_``, and ``powers_tried_`` where the validation rows choose it."""
        if self.power != "auto":
            self.power_ = float(self.power)
            return
        assert val is not None
        outputs = run_in_blocks(self.model_, val.inputs.double())
        self.power_, self.powers_tried_ = balanced_power(
            lambda power: self._of_outputs(outputs, power).mean(), val.labels, self.bins_
        )

    def _outputs(self, X: Any) -> Tensor:  # noqa: N803
        check_is_fitted(self)
        inputs = validate_data(self, X, reset=False, dtype=np.float64)
        return run_in_blocks(self.model_, torch.from_numpy(self.scaler_.transform(inputs)))

    def _distribution(self, X: Any, power: float | None) -> CellDistribution:  # noqa: N803
        return self._of_outputs(self._outputs(X), self.power_ if power is None else power)

    def _of_outputs(self, outputs: Tensor, power: float) -> CellDistribution:
        head = self.model_.head
        assert isinstance(head, HistogramHead)
        with torch.no_grad():
            log_prob = head.log_prob(outputs, power)
        return CellDistribution(log_prob, self._units.to_raw(head.cells.edges))


def _standard_units(labels: NDArray[np.float64], weights: NDArray[np.float64] | None) -> TargetUnits:
    """Return the map from labels to targets of mean 0 and deviation 1; equal labels are only shifted."""
    mean = float(np.average(labels, weights=weights))
    deviation = float(np.sqrt(np.average((labels - mean) ** 2, weights=weights)))
    scale = torch.tensor(deviation if deviation > 0 else 1.0, dtype=torch.float64)
    return TargetUnits(torch.tensor(mean, dtype=torch.float64), scale, dtype=torch.float64)
