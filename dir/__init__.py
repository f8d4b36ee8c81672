"""Deep imbalanced regression: LDS, FDS, losses and shot metrics for PyTorch.

The face is lazy: a name is imported on first use, so ``from dir import FDS, LDS`` does not pay for torchmetrics.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from dir.bins import LabelBins as LabelBins
    from dir.denseweight import DenseWeight as DenseWeight
    from dir.fds import FDS as FDS
    from dir.lds import LDS as LDS
    from dir.losses import FocalR as FocalR
    from dir.losses import WeightedHuber as WeightedHuber
    from dir.losses import WeightedL1 as WeightedL1
    from dir.losses import WeightedMSE as WeightedMSE
    from dir.metrics import ShotMetrics as ShotMetrics
    from dir.mixup import CMixup as CMixup
    from dir.relevance import Relevance as Relevance
    from dir.vir import ProbabilisticFDS as ProbabilisticFDS

_HOME = {
    "CMixup": "dir.mixup",
    "DenseWeight": "dir.denseweight",
    "FDS": "dir.fds",
    "LDS": "dir.lds",
    "LabelBins": "dir.bins",
    "ProbabilisticFDS": "dir.vir",
    "FocalR": "dir.losses",
    "WeightedHuber": "dir.losses",
    "WeightedL1": "dir.losses",
    "WeightedMSE": "dir.losses",
    "Relevance": "dir.relevance",
    "ShotMetrics": "dir.metrics",
}
__all__ = [*sorted(_HOME), "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'dir' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
