"""FDS and head for each of several targets on one encoder: the parts of a Regressor with several outputs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from dir.bins import LabelBins
from dir.fds import FDS
from dir.models.heads import Head


class TargetHeads(Head):
    """One head for each target.

    Args:
        heads: K heads of the same class, see :class:`~dir.models.heads.Head`.

    Shape:
        features ``[N, D]`` that all heads share, or ``[N, K, D]`` with the features of each head -> ``[N, K]``, or
        ``[N, K, ...]`` for heads with several numbers. ``predict``: -> ``[N, K]``.

    Example:
        >>> from dir.models import LinearHead
        >>> TargetHeads([LinearHead(8), LinearHead(8)])(torch.zeros(5, 8)).shape
        torch.Size([5, 2])
    """

    def __init__(self, heads: Iterable[Head]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)

    def fit(self, targets: Tensor, bins: Sequence[LabelBins]) -> TargetHeads:
        """Fit each head that needs them to its training targets, columns of ``[N, K]``; returns itself."""
        for head, column, own in zip(self.heads, targets.unbind(1), bins, strict=True):
            if callable(fit := getattr(head, "fit", None)):
                fit(column, own)
        return self

    def forward(self, features: Tensor) -> Tensor:
        own = [features] * len(self.heads) if features.ndim == 2 else features.unbind(1)
        return torch.stack([head(part) for head, part in zip(self.heads, own, strict=True)], dim=1)

    def predict(self, output: Tensor) -> Tensor:
        columns = zip(self.heads, output.unbind(1), strict=True)
        return torch.stack([cast("Head", head).predict(part) for head, part in columns], dim=1)


class TargetFDS(nn.ModuleList):
    """One FDS for each target, all of the features of one encoder.

    Each calibrates the features by the labels of its target, for the head of its target. The parts are closed by
    their own ``end_epoch()``, which :class:`dir.callbacks.lightning.EndEpoch` calls.

    Args:
        layers: K layers with the same number of features.

    Shape:
        features ``[N, D]``, labels ``[N, K]`` -> ``[N, K, D]`` in training mode with labels; else ``[N, D]``.

    Example:
        >>> from dir import LabelBins
        >>> fds = TargetFDS([FDS(4, LabelBins.integers(0, 3)) for _ in range(2)])
        >>> fds(torch.zeros(6, 4), torch.zeros(6, 2)).shape, fds(torch.zeros(6, 4)).shape
        (torch.Size([6, 2, 4]), torch.Size([6, 4]))
    """

    def __init__(self, layers: Iterable[FDS]) -> None:
        super().__init__(layers)

    @property
    def num_features(self) -> int:
        """Number of features D."""
        return cast("FDS", self[0]).num_features

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the features, calibrated for each target."""
        if labels is None or not self.training:
            return features.clone()
        columns = zip(self, labels.unbind(1), strict=True)
        return torch.stack([fds(features, column) for fds, column in columns], dim=1)
