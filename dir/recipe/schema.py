"""Schema of a run's config: the keys, types and defaults that Hydra checks when it composes configs/.

``register_configs`` stores the schema in Hydra's ConfigStore, and configs/train.yaml starts from the schema.
The config of a data set only describes its task. Each setting that a method reads from the task has one default, in
this module; tuned values stand in configs/method/tuned/.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf

from dir.metrics.shot_thresholds import default_threshold
from dir.recipe.families import loss_family
from dir.recipe.folder_name import UNNAMED, run_name, suffix
from dir.recipe.model_schema import Model, TextModel, TimmModel
from dir.recipe.several_targets import joined_names


def _of_family(key: str) -> str:
    return f"${{loss_family:${{task.family}},{key}}}"


# Each class below holds what a method reads from the task. The defaults suit a target that is standardised by the
# training labels (task.target_offset and task.target_scale null); they are not tuned for any data set.


@dataclass
class Focal:
    """Settings of method=focal_r, see :class:`dir.losses.FocalR`."""

    base: str = _of_family("base")
    activation: str = "sigmoid"
    beta: float = 3.0
    gamma: float = 1.0


@dataclass
class LDSSettings:
    """Settings of the methods with LDS, see :class:`dir.LDS`."""

    reweight: Any = "sqrt_inverse"
    kernel_size: int = 5
    sigma: float = 2.0
    padding: str = "constant"


@dataclass
class FDSSettings:
    """Settings of the methods with FDS, see :class:`dir.FDS`."""

    kernel_size: int = 5
    sigma: float = 2.0
    ratio_clip: list[float] | None = field(default_factory=lambda: [0.1, 10.0])


@dataclass
class Shrink:
    """Settings of the shrinking form of FDS; ``sigma`` is in bins, ``tau`` in samples."""

    sigma: float = 5.0
    tau: float = 20.0


@dataclass
class Mixup:
    """Settings of method=c_mixup; ``bandwidth`` is in the criterion's units."""

    bandwidth: float = 0.5


@dataclass
class BalancedMSE:
    """Settings of the methods bmc, bni and gai; ``sigma`` is in the criterion's units."""

    sigma: float = 0.3


@dataclass
class Dist:
    """Settings of method=dist, see :class:`dir.losses.DistLoss`."""

    base: str = _of_family("base")
    alignment: float = 1.0


@dataclass
class Uvote:
    """Settings of method=uvote, see :class:`dir.losses.UVOTE`."""

    noise: str = _of_family("noise")


@dataclass
class RankSim:
    """Settings of the regulariser ranksim."""

    weight: float = 0.1


@dataclass
class ConR:
    """Settings of the regulariser conr; ``window`` is in the criterion's units, ``push`` is per unit."""

    weight: float = 0.3
    window: float = 0.1
    push: float = 0.3


@dataclass
class RnC:
    """Settings of the regulariser rnc."""

    weight: float = 0.1


@dataclass
class OrdinalEntropy:
    """Settings of the regulariser ordinal_entropy."""

    weight: float = 0.01


@dataclass
class SRL:
    """Settings of the regulariser srl."""

    weight: float = 0.1


@dataclass
class Task:
    """A regression task: the description that a data set gives, then the settings that methods read.

    ``???`` marks the keys that configs/task/*.yaml or the data set's own config must give.
    """

    unit: str = MISSING  # of the labels, shown in tables
    monitor: str = MISSING  # validation metric that chooses the best epoch
    family: str = "mse"  # of the losses: l1 or mse
    bins: Any = MISSING  # a LabelBins
    fds_bins: Any = "${task.bins}"
    shots: Any = MISSING  # thresholds of the shot groups, see ShotMetrics
    target_offset: float | None = (
        None  # the criterion sees (label - offset) / scale, or log(1 + label) for the label;
    )
    target_scale: float | None = None  # null: mean and standard deviation of the training labels, or of their logs
    loss: Any = field(default_factory=lambda: {"_target_": _of_family("loss")})

    focal: Focal = field(default_factory=Focal)
    huber_beta: float = 0.5
    inverse_clip: list[float] | None = None  # of method=inv: limits of the label counts
    lds: LDSSettings = field(default_factory=LDSSettings)
    fds: FDSSettings = field(default_factory=FDSSettings)
    shrink: Shrink = field(default_factory=Shrink)
    mixup: Mixup = field(default_factory=Mixup)
    balanced_mse: BalancedMSE = field(default_factory=BalancedMSE)
    dist: Dist = field(default_factory=Dist)
    uvote: Uvote = field(default_factory=Uvote)
    ranksim: RankSim = field(default_factory=RankSim)
    conr: ConR = field(default_factory=ConR)
    rnc: RnC = field(default_factory=RnC)
    ordinal_entropy: OrdinalEntropy = field(default_factory=OrdinalEntropy)
    srl: SRL = field(default_factory=SRL)


@dataclass
class Method:
    """The parts of a method; configs/method/vanilla.yaml explains each. A part that is null is absent."""

    lds: Any = None
    fds: Any = None
    loss: Any = "${task.loss}"
    head: Any = field(default_factory=lambda: {"_target_": "dir.models.LinearHead"})
    regularizer: Any = None
    output_fds: Any = None
    mixup: Any = None
    posthoc: str | None = None
    power_objective: str | None = None
    retrain: Any = None
    views: int = 1
    resample: Any = None
    estimator: Any = None
    ensemble: Any = None


@dataclass
class PowerMethod(Method):
    """The parts of method=power, with the exponent of its weights."""

    power: float = 0.5


@dataclass
class Cells:
    """The grid of the methods with a predicted histogram, see :class:`dir.cells.LabelCells`."""

    num_cells: int = 100
    sigma: float = 3.0
    reach: float = 3.0
    scale: str = "auto"
    floor: float | None = None


@dataclass
class PriorMethod(Method):
    """The parts of the methods with a label prior; configs/method/_prior.yaml explains each key."""

    cells: Cells = field(default_factory=Cells)
    temperature: bool = False


@dataclass
class HistogramMethod(PriorMethod):
    """The parts of method=histogram and histogram_prior; configs/method/_cells.yaml explains each key."""

    loss_power: float = 0.0


@dataclass
class TreesMethod(Method):
    """The parts of hist_gbdt, lightgbm and catboost; configs/method/_tree_weights.yaml explains each key."""

    weights: str = "none"
    weightings: dict[str, Any] = field(default_factory=dict)


@dataclass
class Retrain:
    """The second stage of rrt, rrt_lds and rnc_two_stage; configs/method/_retrain.yaml explains each key."""

    checkpoint: str | None = None
    epochs: int = MISSING
    lr: float = MISSING
    features_only: bool = False


@dataclass
class EarlyStopping:
    """Validations without improvement after which training stops; null: never."""

    patience: int | None = None


@dataclass
class Run:
    """A whole config, see configs/train.yaml."""

    name: str = UNNAMED
    seed: int = 0
    resume: Any = False
    best: Any = None
    checkpoint_every_seconds: float = 10.0
    figures: Any = "end"
    data: Any = MISSING
    task: Task = field(default_factory=Task)
    model: Model = field(default_factory=Model)
    method: Method = field(default_factory=Method)
    optimizer: Any = MISSING
    scheduler: Any = None
    regularizer: Any = None
    cost: Any = None
    noise: Any = None
    protocol: Any = None
    trainer: Any = MISSING
    logger: Any = None
    early_stopping: EarlyStopping = field(default_factory=EarlyStopping)


def register_configs() -> None:
    """Register the schema and the resolvers of configs/ with Hydra; a second call changes nothing.

    The resolvers are ``${dir_stem:a/b.csv}`` (gives ``b``), ``${plus_one:9}`` (gives 10), ``${run_name:...}`` and
    ``${run_suffix:...}``, see :mod:`dir.recipe.folder_name`, ``${loss_family:...}``, see
    :func:`dir.recipe.families.loss_family`, ``${target_names:[a,b]}`` (gives ``a+b``), and
    ``${shot_threshold:quantile,many}``, see :func:`dir.metrics.shot_thresholds.default_threshold`.
    """
    store = ConfigStore.instance()
    store.store(name="_run", node=Run, provider="dir")
    store.store(group="method", name="_power", node=PowerMethod, provider="dir")
    store.store(group="method", name="_with_prior", node=PriorMethod, provider="dir")
    store.store(group="method", name="_histogram", node=HistogramMethod, provider="dir")
    store.store(group="method", name="_trees", node=TreesMethod, provider="dir")
    store.store(group="method", name="_second_stage", node=Retrain, provider="dir")
    store.store(group="model", name="_text", node=TextModel, provider="dir")
    store.store(group="model", name="_timm", node=TimmModel, provider="dir")
    OmegaConf.register_new_resolver("dir_stem", lambda path: Path(str(path)).stem, replace=True)
    OmegaConf.register_new_resolver("plus_one", lambda number: int(number) + 1, replace=True)
    OmegaConf.register_new_resolver("run_name", run_name, replace=True)
    OmegaConf.register_new_resolver("run_suffix", lambda lines: suffix(list(lines)), replace=True)
    OmegaConf.register_new_resolver("target_names", joined_names, replace=True)
    OmegaConf.register_new_resolver("loss_family", loss_family, replace=True)
    OmegaConf.register_new_resolver("shot_threshold", default_threshold, replace=True)
