"""Tests of torch.compile over encoder, FDS, head and weighted loss: one graph and no recompilation."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from dir.bins import LabelBins
from dir.fds import FDS
from dir.lds import LDS
from dir.losses import WeightedL1

BINS = LabelBins.integers(0, 30)
LABELS = torch.randint(0, 31, (150,), generator=torch.Generator().manual_seed(1)).float()
INPUTS = torch.randn(150, 6, generator=torch.Generator().manual_seed(2)) + LABELS[:, None] / 10


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Sequential(nn.Linear(6, 16), nn.ReLU())
        self.fds = FDS(16, BINS)
        self.head = nn.Linear(16, 1)
        self.lds = LDS(BINS, reweight="sqrt_inverse").fit(LABELS)
        self.criterion = WeightedL1()

    def forward(self, inputs: Tensor, labels: Tensor) -> Tensor:
        prediction = self.head(self.fds(self.encoder(inputs), labels)).squeeze(1)
        return self.criterion(prediction, labels, weight=self.lds(labels))


def train(model: Model, step: nn.Module, epochs: int, compiles: list[int] | None = None) -> list[float]:
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(epochs):
        for rows in torch.arange(150).split(64):  # the last batch has 22 rows
            optimizer.zero_grad()
            loss = step(INPUTS[rows], LABELS[rows])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        model.fds.end_epoch()
        if compiles is not None:
            compiles.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    return losses


def compare(backend: str, epochs: int, dynamic: bool | None) -> list[int]:
    """Train eagerly and compiled; return the number of graphs after each epoch."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    eager, compiled = Model(), Model()
    expected = train(eager, eager, epochs)
    compiles: list[int] = []
    step = torch.compile(compiled, backend=backend, fullgraph=True, dynamic=dynamic)  # a graph break raises
    losses = train(compiled, step, epochs, compiles)
    torch.testing.assert_close(losses, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(compiled.fds.running_mean, eager.fds.running_mean, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(compiled.fds.running_var, eager.fds.running_var, rtol=1e-5, atol=1e-7)
    assert compiles[0] >= 1
    return compiles


def test_one_graph_with_the_results_of_eager_mode() -> None:
    compiles = compare("aot_eager", epochs=5, dynamic=None)
    assert compiles[1:] == [compiles[1]] * 4, f"recompiled after the second epoch: {compiles}"


@pytest.mark.slow
def test_the_default_backend_agrees_with_eager_mode() -> None:
    """Sizes are symbols from the start, so that one compilation serves the ragged last batch too."""
    try:
        compiles = compare("inductor", epochs=3, dynamic=True)
    except torch._dynamo.exc.BackendCompilerFailed as error:
        pytest.skip(f"no compiler here: {error}")
    assert compiles == [1, 1, 1]


def test_bins_of_any_number_of_labels_are_one_graph() -> None:
    """Check that the choice between search and arithmetic does not create further graphs."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compiled = torch.compile(BINS, fullgraph=True, backend="eager")
    for n in (64, 900, 5_000, 200_000):
        labels = torch.rand(n) * 40 - 5
        torch._dynamo.mark_dynamic(labels, 0)
        assert torch.equal(compiled(labels), BINS(labels))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
