"""Models of the recipes: encoder -> FDS -> head. Names are imported on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dir._lazy import attach

if TYPE_CHECKING:
    from dir.models.bilstm import BiLSTMPairEncoder as BiLSTMPairEncoder
    from dir.models.boosted_trees import BoostedTrees as BoostedTrees
    from dir.models.boosted_trees import HistGBDT as HistGBDT
    from dir.models.boosted_trees_extra import CatBoostTrees as CatBoostTrees
    from dir.models.boosted_trees_extra import LightGBMTrees as LightGBMTrees
    from dir.models.conv import ConvEncoder as ConvEncoder
    from dir.models.encoded_regressor import EncodedRegressor as EncodedRegressor
    from dir.models.encoded_regressor import EncodedTrees as EncodedTrees
    from dir.models.grid import GridEncoder as GridEncoder
    from dir.models.heads import Head as Head
    from dir.models.heads import LinearHead as LinearHead
    from dir.models.heads import NormedHead as NormedHead
    from dir.models.heads_classification import ClassificationHead as ClassificationHead
    from dir.models.heads_distribution import DistributionHead as DistributionHead
    from dir.models.heads_evidential import EvidentialHead as EvidentialHead
    from dir.models.heads_experts import ExpertsHead as ExpertsHead
    from dir.models.heads_histogram import HistogramHead as HistogramHead
    from dir.models.heads_prior import PriorHead as PriorHead
    from dir.models.members import MemberDistributionHead as MemberDistributionHead
    from dir.models.members import MemberHead as MemberHead
    from dir.models.members import MemberLoss as MemberLoss
    from dir.models.members import attach_head as attach_head
    from dir.models.mlp import MLPEncoder as MLPEncoder
    from dir.models.pair import PairMLPEncoder as PairMLPEncoder
    from dir.models.piecewise_linear import PiecewiseLinearEmbedding as PiecewiseLinearEmbedding
    from dir.models.piecewise_linear import quantile_edges as quantile_edges
    from dir.models.pixels import PixelEncoder as PixelEncoder
    from dir.models.pixels import UNetEncoder as UNetEncoder
    from dir.models.regressor import Regressor as Regressor
    from dir.models.resnet import ResNetEncoder as ResNetEncoder
    from dir.models.resnet_maps import ResNetMapEncoder as ResNetMapEncoder
    from dir.models.tabm import TabMEncoder as TabMEncoder
    from dir.models.targets import TargetFDS as TargetFDS
    from dir.models.targets import TargetHeads as TargetHeads
    from dir.models.text import TextMLPEncoder as TextMLPEncoder
    from dir.models.timm_encoder import TimmEncoder as TimmEncoder
    from dir.models.transformer import TransformerPairEncoder as TransformerPairEncoder
    from dir.models.transformer import TransformerTextEncoder as TransformerTextEncoder
    from dir.models.windows import GRUEncoder as GRUEncoder
    from dir.models.windows import TCNEncoder as TCNEncoder

_HOMES = {
    "BiLSTMPairEncoder": "bilstm",
    "BoostedTrees": "boosted_trees",
    "CatBoostTrees": "boosted_trees_extra",
    "HistGBDT": "boosted_trees",
    "LightGBMTrees": "boosted_trees_extra",
    "ConvEncoder": "conv",
    "EncodedRegressor": "encoded_regressor",
    "EncodedTrees": "encoded_regressor",
    "GRUEncoder": "windows",
    "GridEncoder": "grid",
    "Head": "heads",
    "LinearHead": "heads",
    "NormedHead": "heads",
    "ClassificationHead": "heads_classification",
    "DistributionHead": "heads_distribution",
    "EvidentialHead": "heads_evidential",
    "ExpertsHead": "heads_experts",
    "HistogramHead": "heads_histogram",
    "MemberHead": "members",
    "MemberDistributionHead": "members",
    "MemberLoss": "members",
    "attach_head": "members",
    "MLPEncoder": "mlp",
    "PairMLPEncoder": "pair",
    "PiecewiseLinearEmbedding": "piecewise_linear",
    "PriorHead": "heads_prior",
    "PixelEncoder": "pixels",
    "UNetEncoder": "pixels",
    "quantile_edges": "piecewise_linear",
    "Regressor": "regressor",
    "ResNetEncoder": "resnet",
    "ResNetMapEncoder": "resnet_maps",
    "TCNEncoder": "windows",
    "TabMEncoder": "tabm",
    "TargetFDS": "targets",
    "TargetHeads": "targets",
    "TextMLPEncoder": "text",
    "TimmEncoder": "timm_encoder",
    "TransformerPairEncoder": "transformer",
    "TransformerTextEncoder": "transformer",
}
__getattr__, __dir__, __all__ = attach(__name__, _HOMES)
