"""Comparison of two sentence vectors: pair features, and an MLP on top of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dir._checks import check_integer, check_interval, check_same_shape, message


def pair_features(u: Tensor, v: Tensor) -> Tensor:
    r"""Return the pair features of two sentence vectors.

    .. math:: f(u, v) = [u, v, |u - v|, u \odot v]

    Args:
        u: first sentences.
        v: second sentences, of the same shape.

    Shape:
        - u, v: ``[N, D]``; output: ``[N, 4 * D]``.

    Raises:
        ValueError: shapes that differ (they would broadcast).

    Example:
        >>> pair_features(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 1.0]]))
        tensor([[1., 2., 3., 1., 2., 1., 3., 2.]])

    Reference:
        Conneau et al., "Supervised Learning of Universal Sentence Representations" (EMNLP 2017).
    """
    check_same_shape("u", u, "v", v)
    return torch.cat([u, v, (u - v).abs(), u * v], dim=-1)


class PairMLPEncoder(nn.Module):
    r"""Compare two sentence embeddings with an MLP.

    .. math:: f = \mathrm{MLP}([u, v, |u - v|, u \odot v, \cos(u_1, v_1), \dots, \cos(u_K, v_K)])

    where an embedding consists of K views: vectors of equal width, such as several layers or poolings of one encoder.

    Similarity is symmetric, so training swaps each pair with probability 1/2, drawn by torch's global generator,
    unless ``symmetric`` is False. There is no swap in eval mode.

    Args:
        in_features: width of one embedding, a multiple of ``views``.
        hidden: width of the MLP's only layer, and of the features.
        dropout: probability on the features.
        views: number K of vectors in an embedding.
        symmetric: whether training swaps pairs. Set False where the order matters, as for a word and its sentence.
            Default True.

    Shape:
        - input: ``(u, v)``, ``[N, in_features]`` each.
        - output: ``[N, hidden]`` (``num_features``).

    Raises:
        ValueError: a size below 1, a dropout outside [0, 1), views that do not divide the width, or embeddings of
            another width.

    Example:
        >>> encoder = PairMLPEncoder(in_features=4, hidden=8)
        >>> encoder((torch.rand(5, 4), torch.rand(5, 4))).shape
        torch.Size([5, 8])
    """

    def __init__(
        self, in_features: int, hidden: int = 256, dropout: float = 0.5, views: int = 1, symmetric: bool = True
    ) -> None:
        super().__init__()
        for name, value in (("in_features", in_features), ("hidden", hidden), ("views", views)):
            check_integer(name, value)
        check_interval("dropout", dropout, "[0, 1)")
        if in_features % views:
            raise ValueError(message("in_features", f"expected a multiple of views={views}", in_features))
        self.in_features = in_features
        self.views = views
        self.symmetric = symmetric
        self.mlp = nn.Sequential(nn.Linear(4 * in_features + views, hidden), nn.ReLU(), nn.Dropout(dropout))
        self.num_features = hidden

    def forward(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        """Return the features of pairs; see the class for shapes."""
        u, v = inputs
        if u.shape[-1] != self.in_features:
            raise ValueError(message("inputs", f"expected embeddings [N, {self.in_features}]", list(u.shape)))
        if self.training and self.symmetric:
            swap = torch.rand(len(u), 1, device=u.device) < 0.5
            u, v = torch.where(swap, v, u), torch.where(swap, u, v)
        # Not len(u): torch.export would fix the batch size.
        shape = (u.shape[0], self.views, self.in_features // self.views)
        cosines = F.cosine_similarity(u.reshape(shape), v.reshape(shape), dim=-1)
        features: Tensor = self.mlp(torch.cat([pair_features(u, v), cosines], dim=-1))
        return features
