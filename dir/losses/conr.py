"""ConR: a contrastive regulariser that separates samples with similar predictions but different labels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dir._checks import check_not_negative, check_positive
from dir.bins import LabelBins
from dir.losses.base import Regularizer, labelled_rows, nan_unless_finite
from dir.losses.feature_rows import check_rows, feature_rows, unit_rows


def conr(
    features: Tensor,
    labels: Tensor,
    predictions: Tensor,
    window: float = 1.0,
    temperature: float = 0.07,
    push: float = 0.01,
    rarity: Tensor | None = None,
) -> Tensor:
    r"""Return the contrast of samples with similar labels against samples with similar predictions but other labels.

    .. math::
        \frac{1}{N} \sum_{i \in A} \frac{r_i}{|P_i|} \sum_{p \in P_i} -\log
        \frac{e^{s_{ip}}}{\sum_{k \in P_i} e^{s_{ik}} + \sum_{q \in Q_i} r_i e^{\epsilon |y_i - y_q|} e^{s_{iq}}
            + (N - |P_i|)}

    with s the cosine of two features over the temperature, the positives
    :math:`P_i = \{j \ne i : |y_i - y_j| \le \omega\}`, the negatives
    :math:`Q_i = \{j : |y_i - y_j| > \omega, |\hat y_i - \hat y_j| \le \omega\}` and the anchors A: all samples that
    have a negative and a positive. All other samples add 0 to the sum. The predictions get no gradient.
    O(N^2) time and memory.

    Args:
        features: encoder features. The published method stacks two views, with the labels repeated.
        labels: one label per row of features.
        predictions: one prediction per row of features, in the labels' unit.
        window: omega, above 0, in the labels' unit. A label distance that exceeds it only by
            rounding (``4 * eps * max |y|``) counts as within the window.
        temperature: above 0.
        push: epsilon, >= 0, per unit of the labels: how much the distance of its label increases the weight of a
            negative.
        rarity: r, one value >= 0 per row, such as weights from the inverse label density; None means 1.

    Shape:
        features ``[N, D]``, labels, predictions and rarity ``[N]`` -> a scalar, 0 for an empty batch, NaN if a label
        or a prediction is not finite. Half-precision features give a float32 loss.

    Raises:
        ValueError: shapes that do not fit, a window or temperature not above 0, or a negative push.

    Example:
        >>> labels, predictions = torch.tensor([0.0, 0.5, 9.0, 9.5]), torch.full((4,), 5.0)
        >>> apart = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
        >>> bool(conr(apart, labels, predictions) < conr(torch.ones(4, 2), labels, predictions))
        True

    Reference:
        Keramati et al., ConR: Contrastive Regularizer for Deep Imbalanced Regression, ICLR 2024, Sec. 3. As in
        the published code, and unlike in the paper, the denominator has a 1 for every row that is not a positive; at
        temperature 0.07 these are negligible. Departures: the published loss is NaN for an anchor without a positive,
        and its label distances have no tolerance.
    """
    _check(window, temperature, push)
    features, labels = feature_rows(features, labels)
    n = len(labels)
    check_rows("predictions", predictions, n)
    if rarity is not None:
        check_rows("rarity", rarity, n)
    if n == 0:
        return features.sum()
    unit = unit_rows(features)
    # Autocast would compute this product in half precision.
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
    # Logarithm of each row's term in the denominator; a negative adds 1 as well.
    share = torch.where(positive, similarity, F.softplus(pushed).where(confused, 0.0))
    total = positive.sum(dim=1)
    mean_positive = similarity.where(positive, 0.0).sum(dim=1) / total.clamp(min=1)
    loss = (share.logsumexp(dim=1) - mean_positive).where((total > 0) & confused.any(dim=1), 0.0)
    return nan_unless_finite((loss if rarity is None else rarity * loss).mean(), labels, predicted, features)


def _check(window: float, temperature: float, push: float) -> None:
    check_positive("window", window)
    check_positive("temperature", temperature)
    check_not_negative("push", push)


class ConR(Regularizer):
    """Module of :func:`conr`, times ``weight``.

    The method expects two views of every sample, so that each sample has a positive. With one view, a sample whose
    window holds no other sample is not an anchor. On several ranks, each rank contrasts the rows of its own batch.

    Args:
        weight: factor of the term, >= 0. Published for ages: 4.
        window: omega, above 0, in the criterion's units. Published for ages: 1 year.
        temperature: above 0.
        push: epsilon, >= 0, per unit of the criterion. Published for ages: 0.01 per year.
        rarity: a reweighter of the labels in the criterion's units, such as :class:`dir.denseweight.DenseWeight`;
            :meth:`fit` fits it as well. None: all 1, as in the published command for ages.
        ignore_nan: ignore the rows of NaN labels, see :mod:`dir.losses.base`.

    State:
        The state of ``rarity``.

    Raises:
        ValueError: bad arguments, or shapes that do not fit.

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
        ignore_nan: bool = False,
    ) -> None:
        super().__init__(weight, ignore_nan)
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
        """Return the weighted loss; only ``features`` get a gradient."""
        if self.ignore_nan:
            labels, features, predictions = labelled_rows(labels, features, predictions)
        rarity = None if self.rarity is None else self.rarity(labels)
        loss = conr(features, labels, predictions, self.window, self.temperature, self.push, rarity)
        return self.weight * loss
