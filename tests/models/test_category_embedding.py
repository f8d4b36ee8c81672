"""Embedded categories in the encoders of tables, against look-ups by hand."""

from __future__ import annotations

import math

import pytest
import torch

from dir.models import MLPEncoder, TabMEncoder
from dir.models.category_embedding import CategoryEmbedding, embedding_width

CODES = torch.tensor([[0, 3], [2, 0], [1, 1]])


def test_widths_follow_the_rule_of_the_docs() -> None:
    for known in range(300):
        assert embedding_width(known + 1) == min(50, math.ceil((known + 1) / 2))


def test_each_code_has_its_vector_and_code_0_starts_at_0() -> None:
    torch.manual_seed(0)
    embedding = CategoryEmbedding([3, 5])
    found = embedding(CODES)
    for row, (first, second) in enumerate(CODES.tolist()):
        tables = [table.weight for table in embedding.tables]
        torch.testing.assert_close(found[row], torch.cat([tables[0][first], tables[1][second]]))
    assert found.shape == (3, 2 + 3) == (3, embedding.num_features)
    assert (found[0, :2] == 0).all()
    assert (found[1, 2:] == 0).all()
    assert (embedding.tables[1].weight[1:] != 0).all()


def test_an_unknown_category_stays_at_0_unless_training_rows_have_one() -> None:
    torch.manual_seed(0)
    embedding = CategoryEmbedding([3, 5])
    optimizer = torch.optim.AdamW(embedding.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(3):
        embedding(CODES[2:]).square().sum().backward()
        optimizer.step()
    assert all((table.weight[0] == 0).all() for table in embedding.tables)
    embedding(CODES).sum().backward()
    optimizer.step()
    assert all((table.weight[0] != 0).all() for table in embedding.tables)


@pytest.mark.parametrize("columns", [0, 2])
def test_the_mlp_reads_numbers_and_then_vectors(columns: int) -> None:
    torch.manual_seed(0)
    encoder = MLPEncoder(columns, [4], category_sizes=[3, 5])
    numbers = torch.randn(3, columns)
    assert encoder.categories is not None
    row = torch.cat([numbers, encoder.categories(CODES)], dim=1)
    linear = encoder.layers[0]
    expected = (row @ linear.weight.T + linear.bias).clamp(min=0)
    torch.testing.assert_close(encoder((numbers, CODES)), expected)
    assert sum(key.startswith("categories") for key in encoder.state_dict()) == 2
    assert not any(key.startswith("categories") for key in MLPEncoder(2, [4]).state_dict())


@pytest.mark.parametrize("columns", [0, 2])
def test_tabm_gives_the_vectors_to_all_members(columns: int) -> None:
    pytest.importorskip("tabm", reason="needs the extra `tabm`")
    torch.manual_seed(0)
    settings = {"embedding": 4, "members": 3, "hidden": 8, "dropout": 0.0}
    rows = torch.randn(30, columns)
    edges = TabMEncoder.fit_arguments(rows, num_bins=5)["bin_edges"]
    encoder = TabMEncoder(columns, edges, category_sizes=[3, 5], **settings).eval()
    numbers = rows[:3]
    parts = [] if encoder.embedding is None else [encoder.embedding(numbers)]
    assert encoder.categories is not None
    joined = torch.cat([*parts, encoder.categories(CODES)], dim=1)
    views = joined[:, None].expand(-1, 3, -1)
    torch.testing.assert_close(encoder((numbers, CODES)), encoder.backbone(views).flatten(1))
    assert joined.shape[1] == 4 * columns + 5
    # Without categories the inputs are the numbers alone.
    if columns:
        assert TabMEncoder(columns, edges, **settings)(numbers).shape == (3, 24)


@pytest.mark.parametrize("sizes", [[0], [3, -1], [2.5]])
def test_sizes_that_are_none_are_refused(sizes: list[int]) -> None:
    with pytest.raises(ValueError, match=r"^category_sizes\["):
        MLPEncoder(2, [4], category_sizes=sizes)
