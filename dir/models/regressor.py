"""The model of the recipes: encoder -> FDS -> head."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn

from dir.fds import FDS


class Regressor(nn.Module):
    r"""Predicts one number per sample: ``head(fds(encoder(inputs), labels))``.

    FDS acts in training and only where labels are given; without it, in eval mode or without labels the
    model is ``head(encoder(inputs))``.

    Args:
        encoder: module with an int attribute ``num_features``; maps inputs to features [N, num_features].
        head: maps features [N, num_features] to [N, 1] or [N].
        fds: feature distribution smoothing with the same ``num_features``, or None.

    Shape:
        - inputs: whatever the encoder takes (a tensor or a tuple of tensors, first dimension N)
        - labels: [N], raw units
        - output: [N]

    Raises:
        ValueError: if ``fds`` and ``encoder`` disagree about the number of features.

    Example:
        >>> import torch
        >>> encoder = torch.nn.Linear(3, 8)
        >>> encoder.num_features = 8
        >>> Regressor(encoder, torch.nn.Linear(8, 1))(torch.zeros(5, 3)).shape
        torch.Size([5])

    Reference:
        Yang et al., Delving into Deep Imbalanced Regression, ICML 2021, section 3.2: FDS stands before the
        last linear layer.
    """

    def __init__(self, encoder: nn.Module, head: nn.Module, fds: FDS | None = None) -> None:
        super().__init__()
        features = cast("int", encoder.num_features)
        if fds is not None and fds.num_features != features:
            raise ValueError(f"fds.num_features: expected {features} as the encoder has, got {fds.num_features}")
        self.encoder = encoder
        self.fds = fds
        self.head = head

    def forward(self, inputs: Any, labels: Tensor | None = None) -> Tensor:
        features = self.encoder(inputs)
        if self.fds is not None:
            features = self.fds(features, labels)
        output: Tensor = self.head(features)
        return output.squeeze(-1) if output.ndim == 2 else output
