"""ConR: features of samples that the predictions confuse pushed apart, those of similar labels drawn together."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dir.bins import LabelBins
from dir.losses.base import Regularizer, check_positive
from dir.losses.feature_rows import feature_rows, unit_rows


def conr(
    features: Tensor,
    labels: Tensor,
    predictions: Tensor,
    window: float = 1.0,
    temperature: float = 0.07,
    push: float = 0.01,
    rarity: Tensor | None = None,
) -> Tensor:
    r"""Contrast the samples of similar label with those of similar prediction but other label.

    .. math::
        \frac{1}{N} \sum_{i \in A} \frac{r_i}{|P_i|} \sum_{p \in P_i} -\log
        \frac{e^{s_{ip}}}{\sum_{k \in P_i} e^{s_{ik}} + \sum_{q \in Q_i} r_i e^{\epsilon |y_i - y_q|} e^{s_{iq}}
            + (N - |P_i|)}

    with s the cosine of two features over the temperature, the positives
    :math:`P_i = \{j \ne i : |y_i - y_j| \le \omega\}`, the negatives
    :math:`Q_i = \{j : |y_i - y_j| > \omega, |\hat y_i - \hat y_j| \le \omega\}` and the anchors A: all samples that
    have a negative and a positive. An anchor without a positive counts 0. No gradient goes to the predictions.
    O(N^2) time and memory.

    Args:
        features: encoder features; of two views (published), one stacked on the other, labels repeated.
        labels: one per row of features.
        predictions: one per row of features, in the labels' unit.
        window: omega, above 0, in the labels' unit. Label distances that exceed it by rounding alone
            (``4 * eps * max |y|``) are within.
        temperature: above 0.
        push: epsilon, 0 or more, per unit of the labels: how much harder a negative is pushed for the distance of its
            label.
        rarity: r, one per row and 0 or more, such as weights of the labels' inverse density; None means 1.

    Shape:
        features ``[N, D]``, labels, predictions and rarity ``[N]`` -> a scalar, 0 for an empty batch. Half-precision
        features give a float32 loss.

    Raises:
        ValueError: shapes that do not fit, a window or temperature not above 0, a negative push.

    Example:
        >>> labels, predictions = torch.tensor([0.0, 0.5, 9.0, 9.5]), torch.full((4,), 5.0)
        >>> apart = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
        >>> bool(conr(apart, labels, predictions) < conr(torch.ones(4, 2), labels, predictions))
        True

    Reference:
        Keramati et al., ConR: Contrastive Regularizer for Deep Imbalanced Regression, ICLR 2024, Sec. 3. As the
        published code, and unlike the paper, the denominator has a 1 for every row that is no positive; at the
        temperature 0.07 it is negligible. Departures: an anchor without a positive makes the published loss NaN, and
        label distances have no tolerance there.
    """
    _check(window, temperature, push)
    features, labels = feature_rows(features, labels)
    n = len(labels)
    for name, value in (("predictions", predictions), ("rarity", rarity)):
        if value is not None and value.shape not in ((n,), (n, 1)):
            raise ValueError(f"{name} must be [{n}], one per row of features, got {list(value.shape)}")
    if n == 0:
        return features.sum()
    unit = unit_rows(features)
    # Autocast would take this product in half precision.
    with torch.autocast(features.device.type, enabled=False):
        similarity = unit @ unit.T / temperature
    predicted = predictions.detach().flatten().to(labels.dtype)
    gap = (labels[:, None] - labels[None, :]).abs()
    near = gap <= window + 4 * torch.finfo(labels.dtype).eps * labels.abs().max()
    confused = ~near & ((predicted[:, None] - predicted[None, :]).abs() <= window)
    positive = near.fill_diagonal_(False)
    pushed = similarity + push * gap
    if rarity is not None:
        rarity = rarity.detach().flatten().to(labels.dtype)
        pushed = pushed + rarity.log()[:, None]
    # What a row gives to the denominator, as a logarithm; a negative gives 1 + its own share.
    share = torch.where(positive, similarity, F.softplus(pushed).where(confused, 0.0))
    total = positive.sum(dim=1)
    mean_positive = similarity.where(positive, 0.0).sum(dim=1) / total.clamp(min=1)
    loss = (share.logsumexp(dim=1) - mean_positive).where((total > 0) & confused.any(dim=1), 0.0)
    return (loss if rarity is None else rarity * loss).mean()


def _check(window: float, temperature: float, push: float) -> None:
    check_positive("window", window)
    check_positive("temperature", temperature)
    if not push >= 0:
        raise ValueError(f"push must be 0 or more, got {push}")


class ConR(Regularizer):
    """Module of :func:`conr`, times ``weight``.

    Made for two views of every sample: then each has a positive. With one view a sample alone in its window is no
    anchor. On several processes each contrasts the rows of its own batch alone.

    Args:
        weight: factor of the term, 0 or more. Published for ages: 4.
        window: omega, above 0, in the criterion's units. Published for ages: 1 year.
        temperature: above 0.
        push: epsilon, 0 or more, per unit of the criterion. Published for ages: 0.01 per year.
        rarity: a reweighter of the labels, in the criterion's units, such as :class:`dir.denseweight.DenseWeight`; it
            is fitted along. None: all 1, as the published command for ages has it.

    State:
        that of ``rarity``.

    Raises:
        ValueError: bad arguments, shapes that do not fit.

    Example:
        >>> features, labels = torch.randn(8, 4), torch.arange(4.0).repeat(2)
        >>> ConR()(features, labels, torch.zeros(8)).shape
        torch.Size([])
    """

    def __init__(
        self,
        weight: float = 4.0,
        window: float = 1.0,
        temperature: float = 0.07,
        push: float = 0.01,
        rarity: nn.Module | None = None,
    ) -> None:
        super().__init__(weight)
        _check(window, temperature, push)
        self.window = float(window)
        self.temperature = float(temperature)
        self.push = float(push)
        self.rarity = rarity

    def fit(self, targets: Tensor, bins: LabelBins) -> ConR:
        """Fit ``rarity`` to all training targets."""
        if self.rarity is not None:
            self.rarity.fit(targets)  # type: ignore[operator]
        return self

    def forward(self, features: Tensor, labels: Tensor, predictions: Tensor) -> Tensor:
        """The weighted loss; gradients go to ``features`` alone."""
        rarity = None if self.rarity is None else self.rarity(labels)
        loss = conr(features, labels, predictions, self.window, self.temperature, self.push, rarity)
        return self.weight * loss
