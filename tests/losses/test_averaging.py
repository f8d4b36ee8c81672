"""Losses with state under averaged copies of a model."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from dir import LabelBins
from dir.losses import GAI, SRL

B, D = 8, 3
LABELS = torch.from_numpy(np.repeat(np.linspace(0.0, 0.8, B + 1), np.arange(1, B + 2) ** 2)).float()


def make_bins() -> LabelBins:
    return LabelBins.uniform(0.0, 0.8, B)


def test_srl_and_gai_survive_averaging() -> None:
    features = torch.randn(len(LABELS), D, requires_grad=True)
    model = nn.ModuleDict({"srl": SRL().fit(LABELS, make_bins()), "gai": GAI().fit(LABELS, make_bins())})
    averaged = AveragedModel(model, use_buffers=True)
    model["srl"](features, LABELS, LABELS)  # the centres get their shape in the first call
    model["srl"].end_epoch()
    for _ in range(3):
        averaged.update_parameters(model)
    expected = model["gai"](features[:, 0], LABELS)
    torch.testing.assert_close(averaged.module["gai"](features[:, 0], LABELS), expected)
    assert float(model["srl"].live) == 1
    resumed = SRL().fit(LABELS, make_bins())
    resumed.load_state_dict(model["srl"].state_dict())
    assert torch.equal(resumed.seen, model["srl"].seen)
    assert torch.equal(resumed.centers, model["srl"].centers)
