"""Multilayer perceptron for tabular inputs."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from dir._checks import check_choice, check_interval, message
from dir.models.category_embedding import CategoryEmbedding

Norm = Literal["none", "batch", "layer"]
_NORMS: dict[str, type[nn.Module]] = {"none": nn.Identity, "batch": nn.BatchNorm1d, "layer": nn.LayerNorm}


class MLPEncoder(nn.Module):
    """Encode rows of a table: ``h_k = dropout(relu(norm(W_k h_{k-1} + b_k)))``.

    Args:
        in_features: width of a row of numbers, >= 1; 0 is allowed with categories.
        hidden: widths of the layers, one or more; the last width is ``num_features``.
        dropout: probability of zeroing a hidden unit in training, in [0, 1). Default 0.
        norm: "none", "batch" or "layer", applied before the activation. Default "none".
        category_sizes: number of codes of each column of categories, see
            :class:`~dir.models.category_embedding.CategoryEmbedding`. The embedded categories follow the numbers.
            Default: no categories.

    Shape:
        [N, in_features] -> [N, num_features]; with categories the input is the tuple of [N, in_features] and int64
        [N, len(category_sizes)].

    Raises:
        ValueError: an argument outside its range.

    Example:
        >>> import torch
        >>> encoder = MLPEncoder(8, hidden=[64, 32], dropout=0.1, norm="layer")
        >>> encoder(torch.zeros(5, 8)).shape, encoder.num_features
        (torch.Size([5, 32]), 32)
    """

    def __init__(
        self,
        in_features: int,
        hidden: Sequence[int],
        dropout: float = 0.0,
        norm: Norm = "none",
        category_sizes: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.categories = CategoryEmbedding(category_sizes) if category_sizes else None
        widths = [in_features + (self.categories.num_features if self.categories else 0), *hidden]
        if len(widths) < 2 or in_features < 0 or any(width < 1 for width in widths):
            problem = "expected widths >= 1, with one hidden layer or more"
            raise ValueError(message("in_features, hidden", problem, [in_features, list(hidden)]))
        check_interval("dropout", dropout, "[0, 1)")
        check_choice("norm", norm, _NORMS)
        layers: list[nn.Module] = []
        for fan_in, fan_out in itertools.pairwise(widths):
            layers += [nn.Linear(fan_in, fan_out), _NORMS[norm](fan_out), nn.ReLU(), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers)
        self.num_features = widths[-1]

    def forward(self, inputs: Tensor | tuple[Tensor, Tensor]) -> Tensor:
        if self.categories is not None:
            numbers, codes = inputs
            embedded = self.categories(codes)
            inputs = torch.cat([numbers, embedded], dim=1) if numbers.shape[1] else embedded
        features: Tensor = self.layers(inputs)
        return features
