"""Published results on the DIR benchmarks, with the encoders of the papers.

The reports print them in tables of their own, apart from our runs. The group `few` of a published table includes the
labels that never occur in training (our group `zero`). The published recipes train a ResNet-50 from scratch for the
ages, and a 2 x 1500 BiLSTM on frozen GloVe vectors for STS-B. "re-run" marks a number that a later paper measured for
an earlier method. The differences between such pairs are larger than most claimed gains.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

PAPERS: Mapping[str, str] = {
    "DIR": "Yang et al., Delving into Deep Imbalanced Regression, ICML 2021, arXiv:2102.09554",
    "Balanced MSE": "Ren et al., Balanced MSE for Imbalanced Visual Regression, CVPR 2022, arXiv:2203.16427",
    "RankSim": "Gong et al., RankSim: Ranking Similarity Regularization for Deep Imbalanced Regression, "
    "ICML 2022, arXiv:2205.15236",
    "VIR": "Wang and Wang, Variational Imbalanced Regression, NeurIPS 2023, arXiv:2306.06599",
    "ConR": "Keramati et al., ConR: Contrastive Regularizer for Deep Imbalanced Regression, ICLR 2024, "
    "arXiv:2309.06651",
    "SRL": "Dong et al., Improve Representation for Imbalanced Regression through Geometric Constraints, "
    "CVPR 2025, arXiv:2503.00876",
    "Group-DIR": "Pu et al., Leveraging Group Classification with Descending Soft Labeling for Deep "
    "Imbalanced Regression, AAAI 2025, arXiv:2412.12327",
    "BSAM": "Liu et al., Balanced Sharpness-Aware Minimization for Imbalanced Regression, ICCV 2025",
}

# The experiments of this repository that train on a published benchmark's split.
BENCHMARKS: Mapping[str, str] = {
    "agedb": "AgeDB-DIR",
    "imdb_wiki": "IMDB-WIKI-DIR",
    "stsb_glove": "STS-B-DIR",
    "stsb_minilm": "STS-B-DIR",
    "stsb_minilm_finetune": "STS-B-DIR",
}

ENCODERS: Mapping[str, str] = {
    "AgeDB-DIR": "ResNet-50 from scratch",
    "IMDB-WIKI-DIR": "ResNet-50 from scratch",
    "STS-B-DIR": "BiLSTM on GloVe",
}

OTHER_SPLIT = "another random split: 685 of its test rows are in the original train set"
OTHER_RECIPE = "a stronger recipe, whose plain SQINV gives 6.39"


@dataclass(frozen=True)
class Published:
    """One published row, with `values[metric][group]` in label units."""

    benchmark: str
    method: str
    paper: str
    values: Mapping[str, Mapping[str, float]]
    note: str = ""


def _groups(numbers: str) -> dict[str, float]:
    """Return {group: number} of '7.77/6.62/9.55/13.67' in the order all, many, median, few; '-' means no number."""
    parts = zip(("all", "many", "median", "few"), numbers.split("/"), strict=False)
    return {group: float(part) for group, part in parts if part != "-"}


def _row(benchmark: str, method: str, paper: str, note: str = "", **metrics: str) -> Published:
    return Published(benchmark, method, paper, {name: _groups(text) for name, text in metrics.items()}, note)


_AGE, _WIKI, _STS = "AgeDB-DIR", "IMDB-WIKI-DIR", "STS-B-DIR"

PUBLISHED: tuple[Published, ...] = (
    _row(_AGE, "Vanilla", "DIR", mae="7.77/6.62/9.55/13.67", gm="5.05/4.23/7.01/10.75"),
    _row(_AGE, "SQINV", "DIR", mae="7.81/7.16/8.80/11.20", gm="4.99/4.57/5.73/7.77"),
    _row(_AGE, "LDS", "DIR", mae="7.67/6.98/8.86/10.89", gm="4.85"),
    _row(_AGE, "FDS", "DIR", mae="7.69/7.11/8.86/9.98"),
    _row(_AGE, "LDS+FDS", "DIR", mae="7.47/6.91/8.26/10.55", gm="4.72/4.36/5.45/6.79"),
    _row(_AGE, "RankSim", "RankSim", mae="7.02/6.49/7.84/9.68"),
    _row(_AGE, "RankSim", "RankSim", "re-run", mae="7.41/6.49/8.73/12.47"),
    _row(_AGE, "ConR", "ConR", mae="7.20/6.50/8.04/9.73"),
    _row(_AGE, "ConR", "ConR", "re-run", mae="7.41/6.51/8.81/12.04"),
    _row(_AGE, "VIR", "VIR", mae="6.99/6.39/7.47/9.51"),
    _row(_AGE, "VIR", "VIR", "its own log", mae="7.12/6.69/7.73/9.59"),
    _row(_AGE, "SRL", "SRL", mae="7.22/6.64/8.28/9.81"),
    _row(_AGE, "Group-DIR", "Group-DIR", mae="6.87/6.54/6.96/9.83"),
    _row(_AGE, "BSAM", "BSAM", OTHER_RECIPE, mae="6.07/-/-/7.93"),
    _row(_WIKI, "Vanilla", "DIR", mae="8.06/7.23/15.12/26.33"),
    _row(_WIKI, "LDS", "DIR", mae="7.83/7.31/12.43/22.51"),
    _row(_WIKI, "FDS", "DIR", mae="7.66/7.06/12.60/22.37"),
    _row(_WIKI, "LDS+FDS", "DIR", mae="7.68/7.07/12.79/21.85"),
    _row(_WIKI, "BMC", "Balanced MSE", mae="8.08/7.52/12.47/23.29"),
    _row(_WIKI, "GAI", "Balanced MSE", mae="8.12/7.58/12.27/23.05"),
    _row(_WIKI, "RankSim", "RankSim", mae="7.50/6.93/12.09/21.68"),
    _row(_WIKI, "ConR", "ConR", mae="7.33/6.75/11.99/22.22"),
    _row(_WIKI, "VIR", "VIR", mae="7.19/6.56/11.81/20.96"),
    _row(_WIKI, "Group-DIR", "Group-DIR", mae="7.22/6.71/11.42/20.25"),
    _row(_STS, "Vanilla", "DIR", mse="0.974/0.851/1.520/0.984", pearson="0.742"),
    _row(_STS, "LDS", "DIR", mse="0.914/0.819/1.319/0.955", pearson="0.756"),
    _row(_STS, "FDS", "DIR", mse="0.916/0.875/1.027/1.086"),
    _row(_STS, "LDS+FDS", "DIR", mse="0.907/0.802/1.363/0.942", pearson="0.760"),
    _row(_STS, "VIR", "VIR", mse="0.892/0.795/0.899/0.781", pearson="0.776"),
    _row(_STS, "SRL", "SRL", mse="0.877/0.886/0.873/0.745", pearson="0.765"),
    _row(_STS, "RRT+RankSim", "RankSim", OTHER_SPLIT, mse="0.865/-/-/0.670", pearson="0.771"),
    _row(_STS, "Group-DIR", "Group-DIR", mse="0.887", pearson="0.774"),
)


def published(experiment: str, metric: str) -> list[Published]:
    """Return the published rows with `metric` for the benchmark that `experiment` trains on; many have none.

    Example:
        >>> rows = published("stsb_minilm", "mse")
        >>> rows[0].method, rows[0].values["mse"]["all"]
        ('Vanilla', 0.974)
        >>> published("age_synthetic", "mae")
        []
    """
    benchmark = BENCHMARKS.get(experiment)
    return [row for row in PUBLISHED if row.benchmark == benchmark and metric in row.values]
