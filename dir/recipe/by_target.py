"""Parts of a run for each target: a run with one target has the part itself, a run with several has a container."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from dir.models.target_units import TargetUnits

Part = TypeVar("Part")
Container = TypeVar("Container")


def joined(parts: Sequence[Part], container: Callable[[Sequence[Part]], Container]) -> Part | Container:
    """Return the part of a single target as it is, and those of several targets in a container."""
    return parts[0] if len(parts) == 1 else container(parts)


def joined_units(units: Sequence[TargetUnits]) -> TargetUnits:
    """Return the units of several targets as one, with offsets and scales [K]; a single target keeps its own."""
    if len(units) == 1:
        return units[0]
    offset, scale = (torch.stack(values) for values in zip(*(unit[:2] for unit in units), strict=True))
    return units[0]._replace(offset=offset, scale=scale)
