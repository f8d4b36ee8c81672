"""Head, the base of the modules that turn features into predictions, and LinearHead."""

from __future__ import annotations

from torch import Tensor, nn

from dir._cell_mass import normal_log_mass
from dir._checks import message
from dir.bins import LabelBins


class Head(nn.Module):
    """Map features to the criterion's input (``forward``), and this output to one number per sample (``predict``).

    A subclass is made as ``Head(num_features, bins)``, with the label bins in the criterion's units.

    Shape:
        ``forward``: features ``[N, D]`` -> output ``[N, ...]``; ``predict``: output -> ``[N]``; ``variance``:
        output -> ``[N]``, in the squared units of the criterion, or None if the head predicts no variance.
    """

    def predict(self, output: Tensor) -> Tensor:
        """Return the predictions ``[N]`` in the criterion's units."""
        return output

    def variance(self, output: Tensor) -> Tensor | None:
        """Return the predicted variances ``[N]`` of the labels, or None."""
        return None

    def cell_log_mass(self, output: Tensor, edges: Tensor) -> Tensor:
        """Return the log-mass ``[N, K]`` that the predicted distribution of each label has in the cells.

        A head that predicts a variance alone has a normal distribution. Mass beyond the first and the last edge is
        left out.

        Args:
            output: output of the head.
            edges: edges of the cells in the criterion's units, ``[K + 1]``.

        Raises:
            TypeError: a head that predicts no variance.
        """
        variance = self.variance(output)
        if variance is None:
            raise TypeError(message("head", "predicts no distribution of the label", type(self).__name__))
        return normal_log_mass(self.predict(output), variance.double().sqrt(), edges)


class LinearHead(nn.Linear, Head):
    """Linear layer with one output per sample: ``features @ weight + bias``.

    Args:
        num_features: D.
        bins: ignored; all heads take them.

    Shape:
        features ``[N, D]`` -> ``[N]``.

    Example:
        >>> import torch
        >>> LinearHead(8)(torch.zeros(5, 8)).shape
        torch.Size([5])
    """

    def __init__(self, num_features: int, bins: LabelBins | None = None) -> None:
        super().__init__(num_features, 1)

    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features).squeeze(-1)


class NormedHead(LinearHead):
    """Layer normalisation, then a linear layer with one output per sample.

    Args, shapes: see :class:`LinearHead`.

    Example:
        >>> import torch
        >>> NormedHead(8)(torch.zeros(5, 8)).shape
        torch.Size([5])
    """

    def __init__(self, num_features: int, bins: LabelBins | None = None) -> None:
        super().__init__(num_features, bins)
        self.norm = nn.LayerNorm(num_features)

    def forward(self, features: Tensor) -> Tensor:
        return super().forward(self.norm(features))
