"""A loaded bundle: ``Model``, with its predictions in raw label units."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from dir._checks import check_choice, check_integer, check_interval, check_not_negative, message
from dir.bundle.description import Description
from dir.bundle.inputs.rows import InputEncoder, Rows, RowsError
from dir.bundle.predictor import Predictor
from dir.costs import Cost, CostName
from dir.models.heads_distribution import DistributionHead

OnError = Literal["raise", "nan"]


class Predicted(NamedTuple):
    """Predictions and variances [N] in raw units, NaN for the rows in ``problems``; some models give no variances.

    A model of K targets gives predictions [N, K].
    A model on windows gives one prediction for each window: ``rows`` are the numbers of their last rows, from 0.
    """

    predictions: NDArray[Any]
    variances: NDArray[Any] | None
    problems: dict[int, str]
    rows: list[int] | None = None


class Model:
    """A trained model that predicts raw labels from raw inputs; made by :func:`dir.bundle.load`.

    Attributes:
        module: the network as a :class:`~dir.bundle.Predictor`, whose inputs are encoded tensors; None for a
            scikit-learn regressor.
        estimator: the scikit-learn regressor; None for a network.
        description: the content of model.json.
        encoder: turns raw inputs into tensors.
    """

    def __init__(
        self, description: Description, encoder: InputEncoder, module: Predictor | None = None, estimator: Any = None
    ) -> None:
        self.description = description
        self.encoder = encoder
        self.module = module
        self.estimator = estimator

    def predict(
        self,
        inputs: Any,
        *,
        batch_size: int | None = None,
        device: str | torch.device | None = None,
        progress: bool = False,
        on_error: OnError = "raise",
        power: float | None = None,
        cost: Cost | CostName | None = None,
        **options: Any,
    ) -> NDArray[Any]:
        """Return the predictions [N] in raw label units; for windows [M], see :meth:`predict_rows`; maps [N, h, w].

        A model of several targets gives [N, K], with the columns of :attr:`targets`.

        Args:
            inputs: a frame, dictionary or array of columns; images as uint8 ``[N, H, W]`` or ``[N, H, W, C]`` or as
                paths; sentence pairs. See :mod:`dir.bundle.inputs`.
            batch_size: rows per batch. None (default): the batch size of the run's evaluation, with which the
                predictions equal those of the run to the last bit.
            device: moves the network there first. None (default): where the network is.
            progress: show a progress bar (needs ``rich``).
            on_error: "raise" (default) stops at rows that cannot be predicted and names all of them; "nan" predicts
                NaN for these rows.
            power: power of the label prior, >= 0: 0 predicts as the network was trained, and 1 as if all labels were
                equally frequent. None (default): the power that the bundle keeps, :attr:`power`.
            cost: predict the value of lowest expected cost under the predicted distribution: "mse", "mae", a cost of
                :mod:`dir.costs` such as ``LinearCost(under=5, over=1)``, or a function. None (default): the mean, or
                the median for L1 criteria.
            options: of the kind of input; tables have ``unknown="refuse"`` or ``"zeros"``.

        Raises:
            RowsError: rows that cannot be predicted.
            TypeError: a power or a cost for a model without a predicted distribution.
            ValueError: inputs of another form, or a negative power.
        """
        found = self.predict_rows(
            inputs,
            batch_size=batch_size,
            device=device,
            progress=progress,
            on_error=on_error,
            power=power,
            cost=cost,
            **options,
        )
        return found.predictions

    def predict_variance(self, inputs: Any, **options: Any) -> NDArray[Any]:
        """Return the predicted variances [N] in squared raw units; arguments as for :meth:`predict`.

        Raises:
            TypeError: a model that predicts no variance.
        """
        self._require_variance("predict_variance")
        variances = self.predict_rows(inputs, **options).variances
        assert variances is not None
        return variances

    def predict_interval(self, inputs: Any, level: float = 0.9, **options: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the lower and upper ends [N] of the central interval of the predicted distribution.

        The distribution is that of the head; a head that predicts a variance alone has a normal distribution.

        Args:
            inputs: as for :meth:`predict`.
            level: probability of the interval, in (0, 1). Default 0.9.
            options: as for :meth:`predict`.

        Raises:
            TypeError: a model that predicts no variance.
        """
        check_interval("level", level, "(0, 1)")
        self._require_variance("predict_interval")
        tail = (1 - level) / 2
        ends = self.predict_rows(inputs, _levels=(tail, 1 - tail), **options)
        assert ends.variances is not None
        return ends.predictions, ends.variances

    def predict_quantile(self, inputs: Any, q: float, **options: Any) -> NDArray[Any]:
        """Return the quantile ``q`` [N] of the predicted distribution; arguments and errors as for the interval."""
        check_interval("q", q, "(0, 1)")
        self._require_variance("predict_quantile")
        return self.predict_rows(inputs, _levels=(q, q), **options).predictions

    @property
    def power(self) -> float | None:
        """Power of the label prior that the bundle keeps; None for a model without a label prior."""
        head = None if self.module is None else self.module.regressor.head
        return round(float(head.power), 6) if isinstance(head, DistributionHead) else None

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the targets."""
        listed = self.description.target.get("targets")
        return (str(self.description.target["name"]),) if listed is None else tuple(one["name"] for one in listed)

    @property
    def dtype(self) -> type[np.floating[Any]]:
        """Type of the predictions: float64 for labels that float32 is too coarse for, else float32."""
        return np.float64 if self.description.target.get("dtype") == "float64" else np.float32

    @property
    def map_size(self) -> tuple[int, int] | None:
        """Height and width of the predictions of a picture; None for a model with one prediction for each row."""
        return None if self.module is None else self.module.map_size

    @property
    def has_variance(self) -> bool:
        """Whether the model predicts a variance for each row."""
        if self.module is None or self.module.correction is not None:
            return False
        regressor = self.module.regressor
        features = torch.zeros(1, regressor.num_features, device=self.module.offset.device)
        with torch.no_grad():
            return regressor.variance(regressor.decode(features)) is not None

    def predict_rows(
        self,
        inputs: Any,
        *,
        batch_size: int | None = None,
        device: str | torch.device | None = None,
        progress: bool = False,
        on_error: OnError = "raise",
        power: float | None = None,
        cost: Cost | CostName | None = None,
        _levels: tuple[float, float] | None = None,
        **options: Any,
    ) -> Predicted:
        """Return predictions, variances and the rows that cannot be predicted; arguments as for :meth:`predict`."""
        # With _levels the two columns are quantiles, see predict_interval.
        check_choice("on_error", on_error, ["raise", "nan"])
        if power is not None:
            self._check_power(power)
        if cost is not None:
            self._network("cost").require_power("cost")
        size = self.description.batch_size if batch_size is None else batch_size
        check_integer("batch_size", size)
        rows = self.encoder.open(inputs, **options)
        if self.module is not None and device is not None:
            self.module.to(device)
        shape = (rows.count, *(self.map_size or ()), *([len(self.targets)] if len(self.targets) > 1 else []))
        variances = np.full(shape, np.nan, dtype=self.dtype) if self.has_variance else None
        predictions = np.full(shape, np.nan, dtype=self.dtype)
        for indices in _batches(rows.count, size, progress):
            good = rows.good(indices)
            if not good:
                continue
            skip = on_error == "raise" and bool(rows.problems)
            read, values, spread = self._predict_batch(rows, good, skip, power, cost, _levels)
            if values is not None:
                predictions[read] = values
            if variances is not None and spread is not None:
                variances[read] = spread
        if rows.problems and on_error == "raise":
            raise RowsError(rows.problems, rows.count, rows.numbers)
        return Predicted(predictions, variances, dict(sorted(rows.problems.items())), rows.numbers)

    @torch.no_grad()
    def _predict_batch(
        self,
        rows: Rows,
        indices: list[int],
        skip: bool,
        power: float | None,
        cost: Cost | CostName | None,
        levels: tuple[float, float] | None,
    ) -> tuple[list[int], NDArray[Any] | None, NDArray[Any] | None]:
        if self.module is None:
            return indices, np.asarray(self.estimator.predict(rows.frame(indices)), dtype=self.dtype), None
        read, inputs = rows.batch(indices)
        # Reading goes on, so that the error names every row; predicting would be wasted.
        if inputs is None or skip or (rows.problems and not read):
            return read, None, None
        device = self.module.offset.device
        moved: Any = tuple(part.to(device) for part in inputs) if isinstance(inputs, tuple) else inputs.to(device)
        if levels is not None:
            ends = self.module.quantiles(moved, levels, power).cpu().numpy()
            return read, ends[..., 0], ends[..., 1]
        prediction, variance = self.module.predict_variance(moved, power)
        if cost is not None:
            prediction = self.module.decide(moved, cost, power)
        return read, prediction.cpu().numpy(), None if variance is None else variance.cpu().numpy()

    def _check_power(self, power: float) -> None:
        self._network("power").require_power()
        check_not_negative("power", power)

    def _network(self, argument: str) -> Predictor:
        if self.module is None:
            problem = "the model has no label prior: it is a scikit-learn regressor"
            raise TypeError(message(argument, problem, advice="Train with method=histogram_prior."))
        return self.module

    def _require_variance(self, method: str) -> None:
        if not self.has_variance:
            advice = "Train with a method that predicts a variance, such as histogram, vir, rbc or uvote."
            raise TypeError(message(method, "the model predicts no variance", advice=advice))


def _batches(count: int, size: int, progress: bool) -> Iterable[list[int]]:
    batches = [list(range(start, min(start + size, count))) for start in range(0, count, size)]
    if not progress:
        return batches
    from rich.progress import track

    return track(batches, description=f"predicting {count} rows")
