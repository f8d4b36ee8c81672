"""Tests of piecewise linear embeddings against rtdl_num_embeddings, and of TabM's encoder, head and loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dir import LabelBins
from dir.losses import BMC, UVOTE, HistogramLoss, WeightedMSE
from dir.models import (
    EvidentialHead,
    HistogramHead,
    LinearHead,
    MemberDistributionHead,
    MemberHead,
    MemberLoss,
    MLPEncoder,
    PiecewiseLinearEmbedding,
    attach_head,
    quantile_edges,
)


def rows(count: int = 200) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, 4, generator=generator)
    x[:, 1] = (x[:, 1] > 0).float()  # two values: one bin
    x[:, 2] = (4 * x[:, 2]).round()  # repeated quantiles
    return x


def test_the_embedding_is_that_of_the_authors_package() -> None:
    rtdl = pytest.importorskip("rtdl_num_embeddings", reason="needs the extra `tabm`")
    x = rows()
    bins = rtdl.compute_bins(x, n_bins=8)
    edges = quantile_edges(x, 8)
    for own, theirs in zip(edges, bins, strict=True):
        np.testing.assert_allclose(own.unique(), theirs, rtol=1e-5, atol=1e-6)
    theirs = rtdl.PiecewiseLinearEmbeddings(bins, 5, activation=False, version="B")
    nn.init.normal_(theirs.linear.weight)
    own = PiecewiseLinearEmbedding(edges, 5)
    with torch.no_grad():
        own.slope.copy_(theirs.linear0.weight)
        own.bias.copy_(theirs.linear0.bias)
        for column, edge in enumerate(bins):
            # Their last component stands behind the padding; ours before it.
            last = len(edge) - 2
            own.weight[column, :last] = theirs.linear.weight[column, :last]
            own.weight[column, last] = theirs.linear.weight[column, -1]
        beyond = torch.cat([x, 3 * x, -2 * x])
        torch.testing.assert_close(own(beyond), theirs(beyond).flatten(1), rtol=1e-4, atol=1e-4)


def test_a_constant_column_is_embedded_linearly() -> None:
    x = rows()
    x[:, 3] = 7.0
    embedding = PiecewiseLinearEmbedding(quantile_edges(x, 6), 3)
    assert not embedding.encode(x)[:, 3].any()
    assert torch.isfinite(embedding(x)).all()


@pytest.mark.parametrize("bad", [torch.zeros(0, 3), torch.zeros(3), torch.tensor([[float("nan")]])])
def test_rows_without_quantiles_are_refused(bad: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"^inputs: "):
        quantile_edges(bad, 4)


def encoder(**changes: Any) -> Any:
    pytest.importorskip("tabm", reason="needs the extra `tabm`")
    from dir.models import TabMEncoder

    settings: dict[str, Any] = {"members": 3, "hidden": 8, "blocks": 2, "embedding": 4, "num_bins": 6, **changes}
    x = rows()
    return TabMEncoder(4, **TabMEncoder.fit_arguments(x, **settings), **settings)


def test_the_features_of_members_stand_one_after_the_other() -> None:
    tabm = encoder().eval()
    x = rows(5)
    features = tabm(x)
    assert features.shape == (5, tabm.num_features) == (5, 24)
    views = tabm.embedding(x).unsqueeze(1).expand(-1, 3, -1)
    torch.testing.assert_close(features.unflatten(1, (3, 8)), tabm.backbone(views))
    members = features.unflatten(1, (3, 8))
    assert not torch.allclose(members[:, 0], members[:, 1])


def test_the_gradient_of_one_member_s_loss_leaves_the_factors_of_others_alone() -> None:
    tabm = encoder(dropout=0.0)
    head = attach_head(tabm, LinearHead)
    assert isinstance(head, MemberHead)
    head(tabm(rows(6)))[:, 1].sum().backward()
    assert head.factors.grad is not None
    assert head.factors.grad[1].any()
    assert not head.factors.grad[[0, 2]].any()


@pytest.mark.parametrize(("name", "value"), [("members", 1), ("hidden", 0), ("blocks", 0), ("dropout", 1.0)])
def test_arguments_out_of_range_are_named(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"^{name}: .*got {value}"):
        encoder(**{name: value})


def test_an_encoder_without_members_has_the_head_itself() -> None:
    assert type(attach_head(MLPEncoder(3, [8]), LinearHead)) is LinearHead


def test_the_prediction_is_the_mean_of_the_members_and_their_variances_add_up() -> None:
    bins = LabelBins.uniform(-2, 2, 10)
    head = MemberHead(EvidentialHead(8, bins), 8, 3)
    features = torch.randn(5, 24)
    output = head(features)
    parts = [head.head(features[:, 8 * m : 8 * m + 8] * head.factors[m]) for m in range(3)]
    means = torch.stack([head.head.predict(part) for part in parts])
    variances = torch.stack([head.head.variance(part) for part in parts])
    torch.testing.assert_close(head.predict(output), means.mean(0))
    spread = (means**2).mean(0) - means.mean(0) ** 2
    torch.testing.assert_close(head.variance(output), variances.mean(0) + spread, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("power", [0.0, 0.7])
def test_histograms_of_members_are_averaged_and_then_corrected(power: float) -> None:
    bins = LabelBins.uniform(-2, 2, 10)
    targets = torch.randn(100).clamp(-2, 2)
    one = HistogramHead(8, bins, num_cells=30, sigma=1.0, loss_power=0.4).fit(targets, bins)
    head = attach_head_of(one, members=3)
    output = head(torch.randn(5, 24))
    parts = torch.stack([one.log_prob(output[:, member], 0.0).exp() for member in range(3)])
    mixed = parts.mean(0) * one.prior.log_density.float().exp() ** -power
    mixed = mixed / mixed.sum(1, keepdim=True)
    torch.testing.assert_close(head.log_prob(output, power).exp(), mixed)
    mean = (mixed * one.cells.centers.float()).sum(1)
    torch.testing.assert_close(head.predict(output, power), mean, rtol=1e-4, atol=1e-4)
    spread = (mixed * (one.cells.centers.float() - mean[:, None]) ** 2).sum(1)
    within = (mixed * one.cells.widths.float() ** 2).sum(1) / 12
    torch.testing.assert_close(head.variance(output, power), spread + within, rtol=1e-4, atol=1e-4)
    low, high = head.interval(output, 0.8, power).T
    assert (low < head.quantile(output, 0.5, power)).all()
    assert (head.quantile(output, 0.5, power) < high).all()
    inside = (one.cells.edges[1:] > low[:, None]) & (one.cells.edges[:-1] < high[:, None])
    assert ((mixed * inside).sum(1) >= 0.8 - 1e-5).all()
    y = targets[:5]
    cell = torch.searchsorted(one.cells.edges, y.double(), right=True) - 1
    expected = -(mixed[torch.arange(5), cell] / one.cells.widths[cell].float()).log()
    torch.testing.assert_close(head.nll(output, y, power), expected, rtol=1e-4, atol=1e-4)
    assert (head.crps(output, y, power) > 0).all()
    assert head.power is one.power


def attach_head_of(one: HistogramHead, members: int) -> MemberDistributionHead:
    class Encoder(nn.Module):
        num_features = 8 * members

    ensemble = Encoder()
    ensemble.members = members  # type: ignore[assignment]
    head = attach_head(ensemble, lambda num_features: one)
    assert isinstance(head, MemberDistributionHead)
    return head


@pytest.mark.parametrize("name", ["mse", "histogram", "bmc", "uvote"])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_loss_is_the_mean_of_the_members_losses(name: str, weighted: bool) -> None:
    bins = LabelBins.uniform(-2, 2, 10)
    targets = torch.randn(20).clamp(-2, 2)
    criterion: Any = {
        "mse": WeightedMSE,
        "histogram": lambda: HistogramLoss(num_cells=12, sigma=1.0),
        "bmc": lambda: BMC(0.5),
        "uvote": UVOTE,
    }[name]()
    loss = MemberLoss(criterion).fit(targets, bins)
    width = {"histogram": (12,), "uvote": (3, 2)}.get(name, ())
    output = torch.randn(20, 3, *width)
    weight = torch.rand(20) if weighted and not loss.corrects_imbalance else None
    expected = torch.stack([criterion(output[:, member], targets, weight=weight) for member in range(3)]).mean()
    torch.testing.assert_close(loss(output, targets, weight=weight), expected)
