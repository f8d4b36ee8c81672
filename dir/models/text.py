"""Encoder of one or two texts that are given as embeddings."""

from __future__ import annotations

import math

from torch import Tensor, nn

from dir._checks import check_choice, check_integer, check_interval, message
from dir.models.pair import PairMLPEncoder


def text_mlp(
    in_features: int, texts: int, hidden: int, dropout: float, views: int = 1, symmetric: bool = False
) -> nn.Module:
    """Return an MLP with one hidden layer on the embedding of one text, or on the pair features of two.

    Args:
        in_features: width of one embedding, a multiple of ``views``.
        texts: 1 or 2.
        hidden: width of the layer, and of the features.
        dropout: probability on the features.
        views: vectors in an embedding.
        symmetric: whether the order of two texts is irrelevant, see :class:`~dir.models.PairMLPEncoder`.

    Raises:
        ValueError: an argument out of its range, or ``symmetric`` with one text.
    """
    check_choice("texts", texts, (1, 2))
    if texts == 2:
        return PairMLPEncoder(in_features, hidden, dropout, views, symmetric)
    if symmetric:
        raise ValueError(message("model.symmetric", "one text has no order", symmetric, "Set model.symmetric=false."))
    check_integer("in_features", in_features)
    check_integer("hidden", hidden)
    check_interval("dropout", dropout, "[0, 1)")
    return nn.Sequential(nn.Linear(in_features, hidden), nn.ReLU(), nn.Dropout(dropout))


class TextMLPEncoder(nn.Module):
    r"""Encode one or two texts, given as embeddings of a frozen encoder, by an MLP with one hidden layer.

    .. math:: f = \mathrm{MLP}(\sqrt{D}\, u) \quad \text{or} \quad f = \mathrm{MLP}(\mathrm{pair}(\sqrt{D}\, u,
              \sqrt{D}\, v))

    with the pair features of :class:`~dir.models.PairMLPEncoder`. The factor gives the components of a vector of
    length one, of width D, the order of 1, which the initialisation of the MLP assumes.

    Args:
        in_features: width of one embedding, a multiple of ``views``.
        texts: 1 (default) or 2.
        hidden: width of the MLP's layer, and of the features. Default 256.
        dropout: probability on the features, in [0, 1). Default 0.5.
        views: number of vectors in an embedding. Default 1.
        symmetric: whether training swaps two texts at random. False (default) keeps their order, which matters for a
            word and its sentence, or a question and its answer.

    Shape:
        - input: ``[N, in_features]`` for one text, ``([N, in_features], [N, in_features])`` for two.
        - output: ``[N, hidden]`` (``num_features``).

    Raises:
        ValueError: an argument out of its range, ``symmetric`` with one text, or embeddings of another width.

    Example:
        >>> import torch
        >>> encoder = TextMLPEncoder(in_features=4, texts=2, hidden=8)
        >>> encoder((torch.rand(5, 4), torch.rand(5, 4))).shape
        torch.Size([5, 8])
    """

    def __init__(
        self,
        in_features: int,
        texts: int = 1,
        hidden: int = 256,
        dropout: float = 0.5,
        views: int = 1,
        symmetric: bool = False,
    ) -> None:
        super().__init__()
        self.mlp = text_mlp(in_features, texts, hidden, dropout, views, symmetric)
        self.in_features = in_features
        self.factor = math.sqrt(in_features / views)
        self.num_features = hidden

    def forward(self, inputs: Tensor | tuple[Tensor, Tensor]) -> Tensor:
        """Return the features of the texts; see the class for shapes."""
        width = (inputs if isinstance(inputs, Tensor) else inputs[0]).shape[-1]
        if width != self.in_features:
            raise ValueError(message("inputs", f"expected embeddings [N, {self.in_features}]", width))
        if isinstance(inputs, Tensor):
            features: Tensor = self.mlp(inputs * self.factor)
        else:
            features = self.mlp((inputs[0] * self.factor, inputs[1] * self.factor))
        return features
