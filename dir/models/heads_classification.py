"""Head that classifies into the label bins and predicts the expected bin centre."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dir._cell_mass import spread
from dir.bins import LabelBins
from dir.models.heads import Head


class ClassificationHead(Head):
    r"""One logit per label bin; the prediction is the mean of the bins' distribution.

    .. math:: p = \mathrm{softmax}(W z + b), \qquad \hat y = \sum_b p_b c_b, \qquad
        \hat\sigma^2 = \sum_b p_b \left( (c_b - \hat y)^2 + \tfrac{1}{12} w_b^2 \right)

    with c the centres and w the widths of the bins. Train it with :class:`dir.losses.RegressionByClassification`.
    Labels are assumed uniform within a bin, so that a prediction of a single bin still has the variance of this bin.

    Args:
        num_features: D.
        bins: the B label bins, in the criterion's units.

    Shape:
        features ``[N, D]`` -> logits ``[N, B]``; ``predict`` and ``variance`` of them ``[N]``.

    Example:
        >>> head = ClassificationHead(8, LabelBins.integers(0, 4))
        >>> logits = head(torch.zeros(5, 8))
        >>> logits.shape, head.predict(torch.zeros(1, 5)), head.variance(torch.zeros(1, 5))
        (torch.Size([5, 5]), tensor([2.]), tensor([2.0833]))

    Reference:
        Rothe et al., Deep expectation of real and apparent age from a single image without facial landmarks, IJCV
        2018 (DEX). The variance is ours: the variance of the same distribution plus the variance within the bins.
    """

    def __init__(self, num_features: int, bins: LabelBins) -> None:
        super().__init__()
        self.bins = bins
        self.linear = nn.Linear(num_features, bins.num_bins)

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.linear(features)
        return logits

    def predict(self, output: Tensor) -> Tensor:
        return self._mean(self._probability(output))

    def variance(self, output: Tensor) -> Tensor:
        probability = self._probability(output)
        gap = self.bins.centers - self._mean(probability)[:, None]
        return (probability * (gap.square() + self.bins.edges.diff().square() / 12)).sum(dim=1)

    def cell_log_mass(self, output: Tensor, edges: Tensor) -> Tensor:
        """Return the log-mass of the cells: each bin spreads its probability evenly over the cells that it meets."""
        return spread(self._probability(output), self.bins.edges, edges)

    def _mean(self, probability: Tensor) -> Tensor:
        # Autocast would compute this product in half precision, where ages of 71.0 and 71.2 are equal.
        with torch.autocast(probability.device.type, enabled=False):
            return probability @ self.bins.centers

    def _probability(self, output: Tensor) -> Tensor:
        # The bins keep their type if the model is cast.
        return output.to(torch.promote_types(output.dtype, self.bins.centers.dtype)).softmax(dim=1)
