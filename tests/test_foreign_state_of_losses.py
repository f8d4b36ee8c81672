"""State of losses, heads and the label prior: copied, averaged, pickled and saved by tools of others."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_avg_fn

from dir import LabelBins, LabelCells, LabelPrior, losses
from dir.models import HistogramHead

LABELS = torch.linspace(0.0, 0.8, 200).square()


def fitted_parts() -> dict[str, torch.nn.Module]:
    """Return every exported loss and head that keeps state, fitted to the labels."""
    bins, targets = LabelBins.uniform(0.0, 0.8, 8), LABELS
    found: dict[str, torch.nn.Module] = {"LabelPrior": LabelPrior(40).fit(targets, LabelCells(bins, 40, 1.0))}
    for name in sorted(losses.__all__):
        made = getattr(losses, name)
        if made in (losses.Regularizer, losses.TargetLosses):  # a base, and a list of the others
            continue
        if isinstance(made, type) and issubclass(made, torch.nn.Module):
            part = made(1.0) if issubclass(made, losses.Regularizer) else made()
            found[name] = part.fit(targets, bins) if hasattr(part, "fit") else part
    found["HistogramHead"] = HistogramHead(4, bins, num_cells=40, sigma=1.0).fit(targets, bins)
    return {name: part for name, part in found.items() if part.state_dict()}


@pytest.mark.parametrize("name", sorted(fitted_parts()))
def test_losses_and_heads_keep_their_state_when_copied_averaged_and_saved(name: str, tmp_path: Path) -> None:
    part = fitted_parts()[name]
    before = {key: value.clone() for key, value in part.state_dict().items()}
    averaged = AveragedModel(part, use_buffers=True, avg_fn=get_ema_avg_fn(0.9))
    for _ in range(50):
        averaged.update_parameters(part)
    safetensors = pytest.importorskip("safetensors.torch", reason="needs the extra 'recipes'")
    safetensors.save_file(before, tmp_path / "state.safetensors")
    for copied in (copy.deepcopy(part), averaged.module, pickle.loads(pickle.dumps(part))):
        for key, value in copied.state_dict().items():
            torch.testing.assert_close(value, before[key], rtol=1e-6, atol=0)
    with torch.no_grad():
        for value in part.state_dict().values():
            value.zero_()
    part.load_state_dict(safetensors.load_file(tmp_path / "state.safetensors"))
    for key, value in part.state_dict().items():
        assert torch.equal(value, before[key])
