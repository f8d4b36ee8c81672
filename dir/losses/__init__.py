"""Losses with one weight per sample, and regularisers on features, as pure functions and as modules.

Names are imported on first use. Import the functions ``conr``, ``ranksim`` and ``ordinal_entropy`` from the files of
the same names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dir._lazy import attach

if TYPE_CHECKING:
    from dir.losses.balanced_mse import BMC as BMC
    from dir.losses.balanced_mse import bmc as bmc
    from dir.losses.balanced_mse_bni import BNI as BNI
    from dir.losses.balanced_mse_bni import bni as bni
    from dir.losses.balanced_mse_gai import GAI as GAI
    from dir.losses.balanced_mse_gai import gai as gai
    from dir.losses.base import Criterion as Criterion
    from dir.losses.base import Regularizer as Regularizer
    from dir.losses.classification import RegressionByClassification as RegressionByClassification
    from dir.losses.classification import focal_cross_entropy as focal_cross_entropy
    from dir.losses.conr import ConR as ConR
    from dir.losses.cost import CostLoss as CostLoss
    from dir.losses.cost import cost_loss as cost_loss
    from dir.losses.dist_loss import DistLoss as DistLoss
    from dir.losses.dist_loss import distribution_loss as distribution_loss
    from dir.losses.evidential import EvidentialLoss as EvidentialLoss
    from dir.losses.evidential import evidential_loss as evidential_loss
    from dir.losses.focal import FocalR as FocalR
    from dir.losses.focal import focal_r as focal_r
    from dir.losses.histogram import HistogramLoss as HistogramLoss
    from dir.losses.histogram import histogram_loss as histogram_loss
    from dir.losses.huber import WeightedHuber as WeightedHuber
    from dir.losses.huber import weighted_huber as weighted_huber
    from dir.losses.l1 import WeightedL1 as WeightedL1
    from dir.losses.l1 import weighted_l1 as weighted_l1
    from dir.losses.mse import WeightedMSE as WeightedMSE
    from dir.losses.mse import weighted_mse as weighted_mse
    from dir.losses.ordinal_entropy import OrdinalEntropy as OrdinalEntropy
    from dir.losses.ranksim import RankSim as RankSim
    from dir.losses.rnc import RankNContrast as RankNContrast
    from dir.losses.rnc import rank_n_contrast as rank_n_contrast
    from dir.losses.srl import SRL as SRL
    from dir.losses.targets import TargetLosses as TargetLosses
    from dir.losses.uvote import UVOTE as UVOTE
    from dir.losses.uvote import expert_nll as expert_nll

_HOMES = {
    "BMC": "balanced_mse",
    "bmc": "balanced_mse",
    "BNI": "balanced_mse_bni",
    "bni": "balanced_mse_bni",
    "GAI": "balanced_mse_gai",
    "gai": "balanced_mse_gai",
    "Criterion": "base",
    "Regularizer": "base",
    "RegressionByClassification": "classification",
    "focal_cross_entropy": "classification",
    "ConR": "conr",
    "CostLoss": "cost",
    "cost_loss": "cost",
    "DistLoss": "dist_loss",
    "distribution_loss": "dist_loss",
    "EvidentialLoss": "evidential",
    "evidential_loss": "evidential",
    "FocalR": "focal",
    "focal_r": "focal",
    "HistogramLoss": "histogram",
    "histogram_loss": "histogram",
    "WeightedHuber": "huber",
    "weighted_huber": "huber",
    "WeightedL1": "l1",
    "weighted_l1": "l1",
    "WeightedMSE": "mse",
    "weighted_mse": "mse",
    "OrdinalEntropy": "ordinal_entropy",
    "RankSim": "ranksim",
    "RankNContrast": "rnc",
    "rank_n_contrast": "rnc",
    "SRL": "srl",
    "TargetLosses": "targets",
    "UVOTE": "uvote",
    "expert_nll": "uvote",
}
__getattr__, __dir__, __all__ = attach(__name__, _HOMES)
