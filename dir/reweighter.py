"""Reweighter, the base of modules that turn labels into sample weights: LDS and DenseWeight; one for each target."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.utils.data import WeightedRandomSampler

from dir._labels import Labels, as_mask
from dir._precision import KeepsPrecision


class Reweighter(KeepsPrecision):
    """Base of modules that are fitted to the training labels and then return one weight per label.

    A subclass registers the buffer ``weights``, which is 0 until :meth:`fit` or ``load_state_dict`` fills it, and
    implements :meth:`fit` and :meth:`forward`. Recipes accept any Reweighter as ``method.lds``.
    """

    weights: Tensor

    def __init__(self) -> None:
        super().__init__()
        # Remembered in Python, because reading a buffer in each step would synchronise with the device.
        self._known_fitted = False

    @property
    def fitted(self) -> bool:
        """Whether the weights were fitted or loaded."""
        if not self._known_fitted and not self.weights.is_meta:
            # Loaders such as transformers' replace buffers without calling any method of the module.
            self._known_fitted = bool(self.weights.sum() > 0)
        return self._known_fitted

    def fit(self, labels: Labels, mask: Any = None) -> Reweighter:
        """Fit the weights to all training labels and return the module.

        Args:
            labels: tensor, NumPy array, pandas Series or list, of any shape.
            mask: bool, of the labels' shape, True for labels that count. Default: all labels count.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement fit(labels, mask=None)")

    def forward(self, labels: Labels, mask: Any = None) -> Any:
        """Return the weight of each label, and 0 where the mask is False."""
        raise NotImplementedError(f"{type(self).__name__} must implement forward(labels, mask=None)")

    def sampler(self, labels: Labels, generator: Generator | None = None) -> WeightedRandomSampler:
        """Return a sampler that draws training samples with replacement, in proportion to their weight."""
        weights = torch.as_tensor(self(labels)).flatten().double().cpu()
        return WeightedRandomSampler(weights.tolist(), num_samples=len(weights), generator=generator)

    def _check_fitted(self) -> None:
        if not self.fitted:
            name = type(self).__name__
            raise RuntimeError(f"{name} is not fitted. Call fit(train_labels) or load_state_dict() first.")

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._known_fitted = False
        _ = self.fitted  # look now, so that the first training step does not wait for the device


def masked_weights(weights: Tensor, mask: Any) -> Tensor:
    """Return weights that are 0 where the mask is False."""
    return weights if mask is None else weights.masked_fill(~as_mask(mask, weights), 0.0)


class TargetWeights(nn.ModuleList):
    """One fitted reweighter for each of several targets: ``weights[:, k]`` is that of the k-th for ``labels[:, k]``.

    Args:
        reweighters: K reweighters, each fitted to the labels of its target.

    Shape:
        labels ``[N, K]`` -> weights ``[N, K]``.

    Example:
        >>> from dir import LDS, LabelBins
        >>> labels = torch.tensor([[0.0, 1.0], [0.0, 0.0], [1.0, 1.0]])
        >>> fitted = [LDS(LabelBins.integers(0, 1), kernel=None).fit(column) for column in labels.T]
        >>> TargetWeights(fitted)(labels)
        tensor([[0.7500, 0.7500],
                [0.7500, 1.5000],
                [1.5000, 0.7500]])
    """

    def __init__(self, reweighters: Iterable[Reweighter]) -> None:
        super().__init__(reweighters)

    def forward(self, labels: Tensor) -> Tensor:
        """Return the weight of each label."""
        columns = zip(self, labels.unbind(1), strict=True)
        return torch.stack([reweighter(column) for reweighter, column in columns], dim=1)
