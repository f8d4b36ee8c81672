"""TabMEncoder: many MLPs with shared weights, on piecewise linear embeddings of the columns of a table."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dir._checks import check_integer, check_interval, message
from dir.models.category_embedding import CategoryEmbedding
from dir.models.piecewise_linear import PiecewiseLinearEmbedding, quantile_edges


class TabMEncoder(nn.Module):
    """Encode the rows of a table by ``members`` MLPs that share their weights and train in parallel.

    The members differ by factors on the inputs and outputs of each layer (BatchEnsemble, package ``tabm``). The
    features of a sample are those of all members, one after the other. :func:`dir.models.attach_head` gives each
    member a head, and a sample's prediction is the mean of its members.

    Args:
        in_features: number of columns of numbers D.
        bin_edges: edges of the embeddings, ``[D, B + 1]``; :meth:`fit_arguments` computes them from training rows.
        num_bins: largest number of bins of a column.
        embedding: numbers per column, >= 1.
        members: number of MLPs, >= 2.
        blocks: number of layers, >= 1.
        hidden: width of the layers, >= 1.
        dropout: probability of zeroing a hidden unit in training, in [0, 1).
        category_sizes: number of codes of each column of categories, see
            :class:`~dir.models.category_embedding.CategoryEmbedding`. All members share the vectors of a category,
            which follow the embedded numbers. Default: no categories.

    Shape:
        ``[N, D]`` -> ``[N, num_features]`` with ``num_features = members * hidden``; with categories the input is the
        tuple of ``[N, D]`` and int64 ``[N, len(category_sizes)]``.

    Raises:
        ImportError: the package ``tabm`` is not installed.
        ValueError: an argument outside its range.

    Reference:
        Gorishniy et al., TabM, ICLR 2025. The defaults are those of the authors' example, apart from ``hidden``
        (there: 512).
    """

    def __init__(
        self,
        in_features: int,
        bin_edges: Tensor,
        num_bins: int = 48,
        embedding: int = 16,
        members: int = 32,
        blocks: int = 2,
        hidden: int = 128,
        dropout: float = 0.1,
        category_sizes: Sequence[int] = (),
    ) -> None:
        super().__init__()
        if importlib.util.find_spec("tabm") is None:
            advice = 'pip install "deep-imbalanced-regression[tabm]".'
            raise ImportError(message("dir.models.TabMEncoder", "needs the package tabm", advice=advice))
        for name, value, least in (("members", members, 2), ("blocks", blocks, 1), ("hidden", hidden, 1)):
            check_integer(name, value, minimum=least)
        check_interval("dropout", dropout, "[0, 1)")
        if len(bin_edges) != in_features:
            raise ValueError(message("bin_edges", f"expected {in_features} columns", len(bin_edges)))
        with warnings.catch_warnings():
            # The package makes a warning where an optional import of its own is missing.
            warnings.simplefilter("ignore")
            import tabm
        self.members = members
        self.num_features = members * hidden
        self.embedding = PiecewiseLinearEmbedding(bin_edges, embedding) if in_features else None
        self.categories = CategoryEmbedding(category_sizes) if category_sizes else None
        # Each column of numbers, and each column of categories, is a chunk with one factor per member.
        chunks = [embedding] * in_features + (self.categories.widths if self.categories else [])
        self.backbone: nn.Module = tabm.make_tabm_backbone(
            d_in=sum(chunks),
            n_blocks=blocks,
            d_block=hidden,
            dropout=dropout,
            k=members,
            start_scaling_init="normal",
            start_scaling_init_chunks=chunks,
        )

    @staticmethod
    def fit_arguments(inputs: Tensor, num_bins: int = 48, **_: Any) -> dict[str, Any]:
        """Return the arguments that the training rows ``[N, D]`` decide: the edges of the embeddings."""
        # A table of categories alone has no edges.
        return {"bin_edges": quantile_edges(inputs, num_bins) if inputs.shape[1] else torch.zeros(0, 2)}

    def forward(self, inputs: Tensor | tuple[Tensor, Tensor]) -> Tensor:
        numbers, codes = inputs if isinstance(inputs, tuple) else (inputs, None)
        parts: list[Tensor] = [] if self.embedding is None else [self.embedding(numbers)]
        if self.categories is not None:
            parts.append(self.categories(codes))
        embedded = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        views = embedded.unsqueeze(1).expand(-1, self.members, -1)
        features: Tensor = self.backbone(views)
        return features.flatten(1)
