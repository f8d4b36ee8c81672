"""Protocols and views through the engine."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from omegaconf import DictConfig

from dir.recipe.build import build


def test_a_run_with_a_protocol_is_tested_on_labels_that_it_never_trained_on(tiny: Callable[..., DictConfig]) -> None:
    parts = build(tiny("+protocol=gaps", "protocol.gaps=[[2.0,4.0]]"))
    for split in ("train", "val"):
        labels = parts.data.labels(split)
        assert not bool(((labels >= 2) & (labels <= 4)).any())
    batches = [labels for _, labels in parts.data.train_dataloader()]
    assert not bool(((torch.cat(batches) >= 2) & (torch.cat(batches) <= 4)).any())
    test = parts.data.labels("test")
    assert bool(((test >= 2) & (test <= 4)).any())
    # The metrics count the removed labels as zero-shot.
    parts.module.metrics.update(test, test)
    assert parts.module.metrics.compute()["zero"]["n"] >= ((test >= 2) & (test <= 4)).sum()


def test_a_gap_that_leaves_nothing_is_an_error(tiny: Callable[..., DictConfig]) -> None:
    with pytest.raises(ValueError, match="empty"):
        build(tiny("+protocol=gaps", "protocol.gaps=[[-100,100]]"))


@pytest.mark.parametrize("name", ["blind_spot", "bimodal_interpolation", "balanced_extrapolation"])
def test_every_named_protocol_builds(tiny: Callable[..., DictConfig], name: str) -> None:
    whole = len(build(tiny()).data.labels("train"))
    assert 0 < len(build(tiny(f"+protocol={name}")).data.labels("train")) < whole


def test_without_augmentation_there_is_one_view(tiny: Callable[..., DictConfig]) -> None:
    data = build(tiny("method.views=2")).data
    assert len(next(iter(data.train_dataloader()))[1]) == data.batch_size
