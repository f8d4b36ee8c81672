"""The experts' head: who predicts, how sure, and that training makes the experts differ."""

from __future__ import annotations

import pytest
import torch

from dir.bins import LabelBins
from dir.losses.uvote import UVOTE
from dir.models.heads_experts import ExpertsHead


def test_the_surest_expert_predicts() -> None:
    output = torch.tensor([[[1.0, 0.5], [2.0, -0.5], [3.0, 0.0]], [[1.0, -3.0], [2.0, 4.0], [3.0, 0.0]]])
    head = ExpertsHead(4)
    assert head.predict(output).tolist() == [2.0, 1.0]
    torch.testing.assert_close(head.variance(output), torch.tensor([-0.5, -3.0]).exp())
    assert head.variance(output.bfloat16()).dtype == torch.float32


def test_log_variance_is_bounded_and_almost_itself_near_zero() -> None:
    head = ExpertsHead(1, num_experts=1)
    with torch.no_grad():
        head.linear.weight.copy_(torch.tensor([[1.0], [1.0]]))
        head.linear.bias.zero_()
    output = head(torch.tensor([[-1e6], [0.5], [1e6]]))
    assert output[:, 0, 0].tolist() == [-1e6, 0.5, 1e6]
    torch.testing.assert_close(output[:, 0, 1], torch.tensor([-10.0, 0.5, 10.0]), rtol=1e-3, atol=0)


def test_under_autocast_only_the_linear_layer_is_narrow() -> None:
    torch.manual_seed(0)
    head, features = ExpertsHead(3), torch.randn(64, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output, raw = head(features), head.linear(features).view(64, 3, 2)
    assert raw.dtype == torch.bfloat16
    torch.testing.assert_close(output[..., 1], 10 * torch.tanh(raw[..., 1].float() / 10))


def test_experts_learn_mean_and_variance_of_what_they_weigh() -> None:
    # One constant feature: the first expert ends at the mean, the last one at the mean of the two bins' means.
    torch.manual_seed(0)
    target = torch.cat([torch.randn(900) * 0.1, 4 + torch.randn(100) * 0.1])
    bins = LabelBins.from_edges([-1.0, 2.0, 6.0])
    head, loss = ExpertsHead(1, num_experts=3), UVOTE().fit(target, bins)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(500):
        optimizer.zero_grad()
        loss(head(torch.ones(1000, 1)), target).backward()
        optimizer.step()
    mean, log_variance = head(torch.ones(1, 1))[0].unbind(dim=1)
    torch.testing.assert_close(mean, torch.tensor([0.4, 1.0, 2.0]), rtol=0.05, atol=0.05)
    torch.testing.assert_close(log_variance.exp()[2], torch.tensor(4.01), rtol=0.05, atol=0)


def test_state_dict_round_trip() -> None:
    head, other = ExpertsHead(3), ExpertsHead(3)
    other.load_state_dict(head.state_dict())
    features = torch.randn(4, 3)
    assert torch.equal(head(features), other(features))


@pytest.mark.parametrize("num_experts", [0, 1.5])
def test_bad_number_of_experts(num_experts: float) -> None:
    with pytest.raises(ValueError, match="num_experts"):
        ExpertsHead(3, num_experts=num_experts)
