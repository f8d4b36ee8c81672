"""The base of the regularisers: losses on the features, added to whatever the predictions are trained with."""

from __future__ import annotations

from torch import Tensor, nn

from dir.bins import LabelBins


class Regularizer(nn.Module):
    """``regularizer(features, labels, predictions)`` gives a scalar to add to the loss, its weight included.

    A subclass computes it in :meth:`forward`, from the pure function beside it. On several processes each sees the
    samples of its own batch alone, and DistributedDataParallel averages the gradients.

    Args:
        weight: factor of the term, >= 0 and finite.

    Shape:
        features ``[N, D]`` (raw, before FDS), labels ``[N]`` and predictions ``[N]`` in the criterion's units ->
        a scalar. Of two views of a batch, ``N`` is twice the number of samples.

    Raises:
        ValueError: a negative or non-finite weight.
    """

    def __init__(self, weight: float) -> None:
        super().__init__()
        if not 0 <= weight < float("inf"):
            raise ValueError(f"weight must be a finite number >= 0, got {weight}")
        self.weight = float(weight)

    def forward(self, features: Tensor, labels: Tensor, predictions: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} must implement forward(features, labels, predictions)")

    def fit(self, targets: Tensor, bins: LabelBins) -> Regularizer:
        """Told of all training labels ``[N]`` and of their bins before training, in the criterion's units."""
        return self

    def end_epoch(self) -> None:
        """Told that an epoch of training ends."""

    def extra_repr(self) -> str:
        return ", ".join(f"{k}={v!r}" for k, v in vars(self).items() if k[0] != "_" and k != "training")
