"""CategoryEmbedding: each category of a table as a learned vector."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dir._checks import check_integer

MAX_WIDTH = 50


def embedding_width(size: int) -> int:
    """Return the length of the vectors of a column with ``size`` codes: ``min(50, ceil(size / 2))``.

    Example:
        >>> embedding_width(3), embedding_width(4), embedding_width(5000)
        (2, 2, 50)

    Reference:
        The rule of fast.ai's course (Howard and Gugger, fastai before version 1.0.49). Later versions of fastai have
        ``min(600, round(1.6 * size**0.56))``, which gives 189 numbers to 5,000 categories.
    """
    return min(MAX_WIDTH, (size + 1) // 2)


class CategoryEmbedding(nn.Module):
    """Replace the code of each column by a vector of its own table, and join the vectors of the columns.

    The vector of code 0 (a missing or unknown category) starts at 0, the mean of the vectors of all categories at the
    start. Training moves the vector of code 0 only if training rows have this code.

    Args:
        sizes: number of codes of each column, >= 1, with code 0.

    Shape:
        codes int64 ``[N, len(sizes)]`` -> ``[N, num_features]``, see :func:`embedding_width`.

    Example:
        >>> embedding = CategoryEmbedding([3, 8])
        >>> embedding(torch.tensor([[0, 7], [2, 0]])).shape, embedding.widths
        (torch.Size([2, 6]), [2, 4])

    Reference:
        Guo and Berkhahn, Entity Embeddings of Categorical Variables, 2016.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        for place, size in enumerate(sizes):
            check_integer(f"category_sizes[{place}]", size)
        self.widths = [embedding_width(size) for size in sizes]
        self.num_features = sum(self.widths)
        self.tables = nn.ModuleList(nn.Embedding(size, width) for size, width in zip(sizes, self.widths, strict=True))
        for table, width in zip(self.tables, self.widths, strict=True):
            weight = table.get_parameter("weight")
            nn.init.uniform_(weight, -(width**-0.5), width**-0.5)
            with torch.no_grad():
                weight[0] = 0.0

    def forward(self, codes: Tensor) -> Tensor:
        return torch.cat([table(codes[:, place]) for place, table in enumerate(self.tables)], dim=1)
