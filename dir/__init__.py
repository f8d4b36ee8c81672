"""Deep imbalanced regression: LDS, FDS, losses and shot metrics for PyTorch.

The package imports names on first use, so that ``from dir import FDS, LDS`` does not import torchmetrics. The name
``dir`` is also the name of a builtin function: import names from the package (``from dir import LDS``), never the
package itself (``import dir``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dir._lazy import attach

__version__ = "0.1.0"

if TYPE_CHECKING:
    from dir.bins import LabelBins as LabelBins
    from dir.cells import LabelCells as LabelCells
    from dir.denseweight import DenseWeight as DenseWeight
    from dir.fds import FDS as FDS
    from dir.fds import ProbabilisticFDS as ProbabilisticFDS
    from dir.fds import attach_fds as attach_fds
    from dir.fds import detach_fds as detach_fds
    from dir.lds import LDS as LDS
    from dir.losses import FocalR as FocalR
    from dir.losses import WeightedHuber as WeightedHuber
    from dir.losses import WeightedL1 as WeightedL1
    from dir.losses import WeightedMSE as WeightedMSE
    from dir.metrics import ShotMetrics as ShotMetrics
    from dir.mixup import CMixup as CMixup
    from dir.prior import LabelPrior as LabelPrior
    from dir.relevance import Relevance as Relevance

_HOMES = {
    "LabelBins": "bins",
    "LabelCells": "cells",
    "DenseWeight": "denseweight",
    "FDS": "fds",
    "ProbabilisticFDS": "fds",
    "attach_fds": "fds",
    "detach_fds": "fds",
    "LDS": "lds",
    "FocalR": "losses",
    "WeightedHuber": "losses",
    "WeightedL1": "losses",
    "WeightedMSE": "losses",
    "ShotMetrics": "metrics",
    "CMixup": "mixup",
    "LabelPrior": "prior",
    "Relevance": "relevance",
}
__getattr__, __dir__, __all__ = attach(__name__, _HOMES)
__all__ += ["__version__"]
