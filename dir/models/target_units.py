"""TargetUnits: labels in the units of the criterion, and predictions back in raw units."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dir._checks import check_positive, message
from dir._precision import to_float64
from dir.bins import LabelBins


def log_labels(labels: Tensor) -> Tensor:
    """Return ``log(1 + label)``, computed in float64 and rounded to the type of the labels.

    Example:
        >>> log_labels(torch.tensor([0.0, 9.0]))
        tensor([0.0000, 2.3026])
    """
    return to_float64(labels).log1p().to(labels.dtype)


class TargetUnits(NamedTuple):
    r"""The map between raw labels y and the targets t that the criterion sees.

    .. math:: t = \frac{g(y) - \text{offset}}{\text{scale}}, \qquad g(y) = y \text{ or } \log(1 + y)

    Args:
        offset, scale: 0-dim tensors, scale > 0; or [K] for labels [N, K] of several targets.
        log1p: whether g is the logarithm of one plus the label; labels are then above -1.
        dtype: type of raw labels and predictions, float32 or float64. With float64, offset and scale are float64, and
            the target is standardised in float64 before it is rounded to float32.

    Example:
        >>> units = TargetUnits(torch.tensor(1.0), torch.tensor(2.0), log1p=True)
        >>> units.to_raw(units.to_target(torch.tensor([0.0, 3.0])))
        tensor([0., 3.])
    """

    offset: Tensor
    scale: Tensor
    log1p: bool = False
    dtype: torch.dtype = torch.float32

    @property
    def wide(self) -> bool:
        """Whether raw labels and predictions are float64."""
        return self.dtype == torch.float64

    def to_target(self, labels: Tensor) -> Tensor:
        """Return raw labels in the criterion's units."""
        values = log_labels(labels) if self.log1p else labels
        target = (values - self.offset) / self.scale
        return target.float() if self.wide else target

    def to_raw(self, prediction: Tensor) -> Tensor:
        """Return predictions of the criterion's units in raw units, of type ``dtype``."""
        if self.wide or self.log1p:
            return self.to_raw64(prediction).to(self.dtype)
        return prediction.float() * self.scale + self.offset

    def to_raw64(self, prediction: Tensor) -> Tensor:
        """Return :meth:`to_raw` before it is rounded: float64, where the device has it."""
        values = to_float64(prediction) * self.scale + self.offset
        return values.expm1() if self.log1p else values

    def raw_variance(self, prediction: Tensor, variance: Tensor) -> Tensor:
        r"""Return variances in squared raw units.

        With log1p this is the delta method, an approximation that is good for small variances:

        .. math:: \mathrm{Var}[y] \approx \left(\frac{dy}{dt}\right)^2 \mathrm{Var}[t], \qquad
            \frac{dy}{dt} = \text{scale} \, (1 + \hat y)

        Args:
            prediction: predictions in the criterion's units, ``[N]``.
            variance: their variances, ``[N]``.
        """
        if not (self.wide or self.log1p):
            return variance.float() * self.scale.square()
        slope = to_float64(self.scale)
        if self.log1p:
            slope = slope * (1 + self.to_raw64(prediction))
        return (to_float64(variance) * slope.square()).to(self.dtype)

    def bins(self, bins: LabelBins) -> LabelBins:
        """Return the same bins in the criterion's units, for units of one target.

        Edges go through the same arithmetic as labels, which is monotone: a label on an edge stays on the edge.

        Raises:
            ValueError: a scale that is not positive; with log1p, edges at or below -1, or edges that coincide.
        """
        check_positive("target_scale", self.scale.item())
        edges = bins.edges.to(bins.dtype)
        if self.log1p and bool((edges <= -1).any()):
            advice = "Set data.log_target=false, or bins that begin above -1."
            problem = "label bins with edges at or below -1 have no logarithm"
            raise ValueError(message("data.log_target", problem, edges.min().item(), advice))
        # The edges of wide labels are rounded as their targets are.
        target = self.to_target(edges)
        if self.log1p and bool((target.diff() <= 0).any()):
            advice = "Set data.log_target=false, or wider task.bins."
            raise ValueError(message("data.log_target", "label bins coincide in log(1 + label)", True, advice))
        return LabelBins.from_edges(target, bins.out_of_range, target.dtype)
