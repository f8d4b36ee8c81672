"""PiecewiseLinearEmbedding: each column of a table as a vector that is a learned piecewise linear function of it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from dir._checks import check_integer, message


def quantile_edges(inputs: Tensor, num_bins: int) -> Tensor:
    """Return the edges of quantile bins of each column: the distinct values among the quantiles.

    Args:
        inputs: the training rows, ``[N, D]``, finite.
        num_bins: largest number of bins of a column, >= 1.

    Shape:
        Output: float32 ``[D, B + 1]``, increasing in each row. B is the largest number of bins of a column; a column
        with fewer bins repeats its last edge, and a constant column has one value alone.

    Example:
        >>> quantile_edges(torch.tensor([[0.0, 7.0], [1.0, 7.0], [2.0, 7.0]]), num_bins=2).tolist()
        [[0.0, 1.0, 2.0], [7.0, 7.0, 7.0]]
    """
    check_integer("num_bins", num_bins)
    if inputs.ndim != 2 or len(inputs) == 0 or not bool(torch.isfinite(inputs).all()):
        raise ValueError(message("inputs", "expected finite rows [N, D], with N >= 1", list(inputs.shape)))
    values = inputs.detach().cpu().double().numpy()
    quantiles = np.quantile(values, np.linspace(0.0, 1.0, num_bins + 1), axis=0).astype(np.float32)
    distinct = [np.unique(column) for column in quantiles.T]
    width = max(2, *(len(edges) for edges in distinct))
    padded = [np.concatenate([edges, np.repeat(edges[-1:], width - len(edges))]) for edges in distinct]
    return torch.from_numpy(np.stack(padded))


class PiecewiseLinearEmbedding(nn.Module):
    r"""Embed each column: ``e_d(x) = a_d x + c_d + V_d z_d(x)``.

    .. math:: z_{db}(x) = \mathrm{clip}\left(\frac{x - t_{db}}{t_{d,b+1} - t_{db}}, 0, 1\right)

    with the edges t of the bins. The first bin of a column is not clipped below, and the last bin not above. V starts
    at 0: the embedding is linear before training.

    Args:
        edges: ``[D, B + 1]``, see :func:`quantile_edges`.
        width: numbers per column, >= 1.

    Shape:
        ``[N, D]`` -> ``[N, D * width]``.

    State:
        edges: buffer ``[D, B + 1]``, so that checkpoints and bundles hold the edges of the training rows.

    Example:
        >>> PiecewiseLinearEmbedding(torch.tensor([[0.0, 1.0, 2.0]]), width=4)(torch.zeros(5, 1)).shape
        torch.Size([5, 4])

    Reference:
        Gorishniy et al., On Embeddings for Numerical Features in Tabular Deep Learning, NeurIPS 2022, section 3.2;
        the linear term and the start at 0 are "version B" of Gorishniy et al., TabM, ICLR 2025.
    """

    edges: Tensor

    def __init__(self, edges: Tensor, width: int) -> None:
        super().__init__()
        check_integer("width", width)
        if edges.ndim != 2 or edges.shape[1] < 2:
            raise ValueError(message("edges", "expected [D, B + 1] with B >= 1", list(edges.shape)))
        columns, bins = edges.shape[0], edges.shape[1] - 1
        self.register_buffer("edges", edges.detach().to(torch.float32).clone())
        self.slope = nn.Parameter(torch.empty(columns, width).uniform_(-(width**-0.5), width**-0.5))
        self.bias = nn.Parameter(torch.empty(columns, width).uniform_(-(width**-0.5), width**-0.5))
        self.weight = nn.Parameter(torch.zeros(columns, bins, width))

    def forward(self, inputs: Tensor) -> Tensor:
        pieces = torch.einsum("ndb,dbw->ndw", self.encode(inputs), self.weight)
        return (inputs[:, :, None] * self.slope + self.bias + pieces).flatten(1)

    def encode(self, inputs: Tensor) -> Tensor:
        """Return z, the place of each value in the bins of its column, ``[N, D, B]``."""
        low, span = self.edges[:, :-1], self.edges.diff(dim=1)
        real = span > 0  # false for the padding behind a column's last edge
        following = torch.cat([real[:, 1:], torch.zeros_like(real[:, :1])], dim=1)
        # Padded bins keep the limits 0 and 0.
        first = torch.arange(span.shape[1], device=span.device) == 0
        least = torch.where(real & first, -torch.inf, 0.0)
        most = torch.where(real & ~following, torch.inf, real.to(span.dtype))
        places = (inputs[:, :, None] - low) / torch.where(real, span, 1.0)
        return torch.maximum(torch.minimum(places, most), least)
