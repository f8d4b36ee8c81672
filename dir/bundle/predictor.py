"""The network of a bundle: encoder, head, target units and correction in one torch module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dir._checks import message
from dir.costs import Cost, CostName
from dir.models.decision import decide_raw
from dir.models.heads_distribution import DistributionHead
from dir.models.regressor import Regressor
from dir.models.target_units import TargetUnits


class PiecewiseLinear(nn.Module):
    """A monotone map of predictions, linear between its points: the correction of a run as a torch module.

    Args:
        x: increasing predictions, at least one.
        y: labels for them.
        extend: whether the first and the last piece go on beyond the points ("affine"); otherwise the map is constant
            there ("isotonic").

    Shape:
        ``[N]`` -> ``[N]`` of the same dtype; computed in float64.

    Example:
        >>> PiecewiseLinear([0.0, 1.0], [1.0, 3.0], extend=False)(torch.tensor([-1.0, 0.5, 2.0]))
        tensor([1., 2., 3.])
    """

    x: Tensor
    y: Tensor
    slope: Tensor

    def __init__(self, x: Sequence[float], y: Sequence[float], extend: bool) -> None:
        super().__init__()
        points, values = (torch.tensor(list(numbers), dtype=torch.float64) for numbers in (x, y))
        if points.ndim != 1 or points.shape != values.shape or len(points) == 0 or bool((points.diff() <= 0).any()):
            raise ValueError("correction: expected increasing x and as many y.")
        self.extend = extend
        slope = values.diff() / points.diff() if len(points) > 1 else torch.zeros(1, dtype=torch.float64)
        self.register_buffer("x", points, persistent=False)
        self.register_buffer("y", values, persistent=False)
        self.register_buffer("slope", slope, persistent=False)

    def forward(self, predictions: Tensor) -> Tensor:
        """Return the corrected predictions, [N]."""
        wide = predictions.to(torch.float64)
        # Comparisons rather than a binary search, which ONNX does not have.
        piece = (wide.unsqueeze(1) >= self.x[1:-1]).sum(dim=1)
        mapped = self.y[piece] + self.slope[piece] * (wide - self.x[piece])
        if not self.extend:
            mapped = torch.where(wide >= self.x[-1], self.y[-1], mapped)
            mapped = torch.where(wide <= self.x[0], self.y[0], mapped)
        return mapped.to(predictions.dtype)


class Predictor(nn.Module):
    r"""Predict labels in raw units: ``correction(raw(head(encoder(inputs))))``.

    ``raw(t)`` is ``t * scale + offset``, or ``exp(t * scale + offset) - 1`` with ``log1p``.

    Args:
        regressor: encoder and head.
        offset: label, or with ``log1p`` the log(1 + label), that the head's 0 stands for; one for each target.
        scale: units of the label, or of log(1 + label), per unit of the head, > 0; one for each target.
        correction: map of the raw predictions, or None.
        log1p: whether the head predicts the standardised log(1 + label). Default: False.
        dtype: type of the raw predictions, float32 (default) or float64.

    Shape:
        inputs of the encoder, first dimension N -> ``[N]`` of ``dtype``; for an encoder of maps ``[N, h, w]``, and
        ``[N, K]`` for K targets.
    """

    offset: Tensor
    scale: Tensor

    def __init__(
        self,
        regressor: Regressor,
        offset: float | Sequence[float] = 0.0,
        scale: float | Sequence[float] = 1.0,
        correction: PiecewiseLinear | None = None,
        log1p: bool = False,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.regressor = regressor
        self.correction = correction
        self.log1p = log1p
        self.dtype = dtype
        # Height and width of the predictions of a picture, for encoders with one row of features for each pixel.
        self.map_size: tuple[int, int] | None = getattr(regressor.encoder, "map_size", None)
        self.register_buffer("offset", torch.tensor(offset, dtype=dtype), persistent=False)
        self.register_buffer("scale", torch.tensor(scale, dtype=dtype), persistent=False)

    @property
    def units(self) -> TargetUnits:
        """The map between raw labels and the units of the head."""
        return TargetUnits(self.offset, self.scale, self.log1p, self.dtype)

    def forward(self, inputs: Any) -> Tensor:
        """Return the predictions in raw units, [N], [N, h, w] or [N, K]."""
        return self._as_maps(self._raw(self.regressor.predict(self.regressor(inputs))))

    def decide(self, inputs: Any, cost: Cost | CostName, power: float | None = None) -> Tensor:
        """Return the predictions with the lowest expected cost in raw units, [N]; see :func:`dir.costs.decide`.

        Raises:
            TypeError: a head without a predicted distribution.
        """
        head = self.require_power("cost")
        return decide_raw(head, self.regressor(inputs), self.units, cost, power)

    def predict_variance(self, inputs: Any, power: float | None = None) -> tuple[Tensor, Tensor | None]:
        """Return the predictions [N] in raw units, and their variances [N] in squared units or None.

        With ``log1p`` the variances are approximate, see :meth:`dir.models.target_units.TargetUnits.raw_variance`.

        Args:
            inputs: inputs of the encoder.
            power: power of the label prior in place of that of the head, see :meth:`require_power`.
        """
        output = self.regressor(inputs)
        if power is None:
            prediction, variance = self.regressor.predict(output), self.regressor.variance(output)
        else:
            found = self.require_power().distribution(output, power)
            prediction, variance = found.point(self.require_power().point), found.variance()
        scaled = None if variance is None else self._as_maps(self.units.raw_variance(prediction, variance))
        return self._as_maps(self._raw(prediction)), scaled

    def quantiles(self, inputs: Any, levels: Sequence[float], power: float | None = None) -> Tensor:
        """Return quantiles of the predicted distribution in raw units, one column per level, [N, len(levels)].

        A head that predicts a variance alone has a normal distribution, with ``log1p`` of the logarithm. Quantiles of
        the logarithm are mapped exactly, because they follow a monotone map.

        Raises:
            TypeError: a head that predicts no variance, or a power for a head that has none.
        """
        output = self.regressor(inputs)
        head = self.regressor.head
        if isinstance(head, DistributionHead) or power is not None:
            found = self.require_power().distribution(output, power)
            columns = torch.stack([found.quantile(level) for level in levels], dim=1)
            return self.units.to_raw(columns)
        variance = self.regressor.variance(output)
        if variance is None:
            raise TypeError("quantiles: the head predicts no variance.")
        places = torch.special.ndtri(torch.tensor(levels, dtype=torch.float64, device=variance.device))
        middle, deviation = self.regressor.predict(output).double(), variance.double().sqrt()
        return self._as_maps(self.units.to_raw64(middle[:, None] + deviation[:, None] * places).to(self.dtype))

    def require_power(self, argument: str = "power") -> DistributionHead:
        """Return the head, which corrects a predicted distribution by a power of the label density.

        Args:
            argument: argument that needs the distribution, for the message.

        Raises:
            TypeError: a head without a power.
        """
        head = self.regressor.head
        if not isinstance(head, DistributionHead):
            problem = f"the model has no label prior: its head is a {type(head).__name__}"
            advice = "Train with method=histogram_prior, histogram or another method with a predicted distribution."
            raise TypeError(message(argument, problem, advice=advice))
        return head

    def _as_maps(self, values: Tensor) -> Tensor:
        """Return one value (or row of values) for each pixel as maps; other values as they are."""
        return values if self.map_size is None else values.reshape(-1, *self.map_size, *values.shape[1:])

    def _raw(self, prediction: Tensor) -> Tensor:
        raw = self.units.to_raw(prediction)
        return raw if self.correction is None else self.correction(raw)
