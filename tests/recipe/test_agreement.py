"""Disagreement of members, views and dropout masks, against variances computed by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from dir.models import MemberHead
from dir.recipe.agreement import copies_of, disagreement
from dir.recipe.build import build
from dir.recipe.module import RegressionModule

WIDE = "model.encoder.hidden=[16]"
Build = Callable[..., Any]


@pytest.fixture
def parts(tmp_path: Path, table_config: Callable[..., Any]) -> Build:
    """Return the built parts of a run on a table of 120 rows."""
    random = np.random.default_rng(0)
    x = random.normal(size=(120, 3))
    label = 9 + 4 * x[:, 0] + random.normal(size=120)
    path = tmp_path / "t.csv"
    pd.DataFrame({"u": x[:, 0], "v": x[:, 1], "w": x[:, 2], "y": label}).to_csv(path, index=False)
    return lambda *overrides: build(table_config(path, 1, "data.split=random", *overrides))


def rows_of(built: Any) -> tuple[torch.Tensor, torch.Tensor]:
    (batch,) = built.data.whole("train")
    return batch


def test_dropout_masks_have_the_variance_of_their_formula(parts: Build) -> None:
    built = parts(WIDE, "model.encoder.norm=none", "model.encoder.dropout=0.25")
    module: RegressionModule = built.module
    assert copies_of(module, augments=False) == "dropout"
    module.train()
    torch.manual_seed(0)
    found = disagreement(module, built.data.whole("train"), "dropout", count=3000)
    assert all(layer.training for layer in module.modules()), "modes stay as they are"
    with torch.no_grad():
        features = module.eval().model.encoder(rows_of(built)[0])
    weight = next(one for one in module.model.head.parameters() if one.ndim == 2)[0]
    # Each feature is 0 with probability p, and f / (1 - p) otherwise.
    variance = (features * weight).square().sum(dim=1) * 0.25 / 0.75
    expected = variance.sqrt() * module.target_scale
    torch.testing.assert_close(found.float(), expected.detach(), rtol=0.08, atol=1e-3)


def test_views_are_passes_of_the_loader_in_eval_mode(parts: Build) -> None:
    built = parts(WIDE)
    inputs, labels = rows_of(built)

    class Shifting:
        passes = 0

        def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
            self.passes += 1
            yield inputs + 0.1 * self.passes, labels

    loader: Any = Shifting()
    assert copies_of(built.module, augments=True) == "views"
    found = disagreement(built.module, loader, "views", count=4)
    with torch.no_grad():
        one = [built.module.eval()(inputs + 0.1 * number) for number in (1, 2, 3, 4)]
    np.testing.assert_allclose(found, np.std(torch.stack(one).double().numpy(), axis=0, ddof=1), rtol=1e-4)


@pytest.mark.parametrize("method", ["vanilla", "histogram"])
def test_members_disagree_in_label_units(parts: Build, method: str) -> None:
    pytest.importorskip("tabm", reason="needs the extra `tabm`")
    small = ("model.encoder.members=3", "model.encoder.hidden=8", "model.encoder.embedding=4")
    built = parts("model=tabm", f"method={method}", *small)
    assert copies_of(built.module, augments=False) == "members"
    found = disagreement(built.module, built.data.whole("train"), "members")
    model, head = built.module.eval().model, built.module.model.head
    assert isinstance(head, MemberHead)
    with torch.no_grad():
        output = model(rows_of(built)[0])
        members = [built.module.to_raw(head.head.predict(output[:, member])) for member in range(3)]
    members = [one.squeeze(-1) for one in members]
    np.testing.assert_allclose(found, np.std(torch.stack(members).double().numpy(), axis=0, ddof=1), rtol=1e-4)


def test_a_network_with_one_prediction_has_no_disagreement(parts: Build) -> None:
    assert copies_of(parts("model.encoder.dropout=0").module, augments=False) is None
