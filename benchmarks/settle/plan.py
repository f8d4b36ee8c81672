"""The plan of the table: data sets, trainings with their six validation trials, and the order of the work."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

# Every training has so many validation trials, on the split and the weights of this seed alone.
NUM_TRIALS = 6
TRIAL_SEED = 100
# A trial wins by the lowest balanced MAE on the validation split.
OBJECTIVE = "balanced_mae"
# Seeds of the test rows, in the order of the work: first three seeds everywhere, then more.
SEED_STAGES = (range(3), range(3, 5), range(5, 10))
# Factors of the data set's own learning rate.
RATES = (1 / 3, 1.0, 3.0)


@dataclass(frozen=True)
class Data:
    """A data set: overrides of scripts/train.py, with file names that ``--data`` holds at any depth.

    Args:
        overrides: every run of the data set has these.
        kind: "table", "embedding", "picture" or "windows"; says which trainings the data set gets.
        network: further overrides of every training of a network. Big tables get bigger batches.
        tabm: further overrides of TabM, whose own 150 epochs of small batches suit small tables.
        trees: further overrides of boosted trees.
        last: trainings that come last on this data set, as the slow ones do.
        max_seeds: seeds of the test rows.
        weight_decays: the two values that trials choose from.
        bmc_sigmas: the two widths of Balanced MSE that trials choose from, in the criterion's units.
    """

    overrides: tuple[str, ...]
    kind: str
    network: tuple[str, ...] = ()
    tabm: tuple[str, ...] = ()
    trees: tuple[str, ...] = ()
    last: tuple[str, ...] = ()
    max_seeds: int = 10
    weight_decays: tuple[float, float] = (0.01, 0.1)
    bmc_sigmas: tuple[float, float] = (0.3, 1.0)


def table(
    file: str,
    target: str,
    *more: str,
    batch_size: int | None = None,
    tabm: tuple[str, ...] = (),
    trees: tuple[str, ...] = (),
    last: tuple[str, ...] = (),
) -> Data:
    """Return a table; ``batch_size`` replaces the recipe's 128 for every network, ``tabm`` changes TabM alone."""
    network = () if batch_size is None else (f"data.batch_size={batch_size}",)
    overrides = ("+experiment=tabular", f"data.path={file}", f"data.target={target}", *more)
    return Data(overrides, "table", network, tabm, trees, last)


# About as many steps as 150 epochs are on a table of 1,000 rows. TabM was run on concrete alone so far.
_TABM_EPOCHS = ("trainer.max_epochs=30",)

# In the order of the work.
DATA = {
    "concrete": table("concrete.csv", "ConcreteCompressiveStrength"),
    "abalone": table("abalone.csv", "Rings", tabm=("trainer.max_epochs=50", "data.batch_size=128")),
    "sulfur_y1": table("sulfur_y1.csv", "y1", batch_size=256, tabm=_TABM_EPOCHS),
    "stsb_minilm": Data(
        ("+experiment=stsb_minilm", "data.path=sts-b-dir"),
        "embedding",
        weight_decays=(0.0, 1e-4),
        bmc_sigmas=(0.07, 0.2),
    ),
    "complex_single": Data(
        (
            *("+experiment=text", "data.path=complex_single.tsv", "data.text=[token,sentence]"),
            *("data.target=complexity", "data.split_column=split", "data.quoting=none"),
        ),
        "embedding",
        bmc_sigmas=(0.07, 0.2),
    ),
    "blood_cells": Data(
        (
            *("+experiment=images_npz", "data.path=bccd_counts.npz", "data.label=rbc"),
            *("task.shots.many=20", "task.shots.few=6", "data.batch_size=16"),
        ),
        "picture",
        max_seeds=5,
        bmc_sigmas=(0.4, 1.0),
    ),
    "bicycles": table(
        "bike_sharing_hour.csv",
        "cnt",
        "data.drop=[instant,dteday,casual,registered]",
        batch_size=512,
        tabm=_TABM_EPOCHS,
    ),
    "california_housing": table("california_housing.csv", "MedianHouseValue", batch_size=512, tabm=_TABM_EPOCHS),
    "house_16h": table("house_16h.csv", "Price", batch_size=512, tabm=_TABM_EPOCHS),
    "nuclei_patches": Data(
        ("+experiment=images_npz", "data.path=nuclei_patches.npz", "data.label=count"),
        "picture",
        max_seeds=5,
        bmc_sigmas=(0.4, 1.0),
    ),
    "digits": Data(
        ("+experiment=images_npz", "data.path=rotmnist_skew.npz", "data.label=angle"),
        "picture",
        max_seeds=5,
        bmc_sigmas=(0.4, 1.0),
    ),
    "gb1": table(
        "gb1_four_sites.csv",
        "fitness",
        "data.letters=[variant]",
        "data.drop=[hd,count_input,count_selected,flip_keep,flip_low_vs_high,flip_sampled]",
        batch_size=1024,
        # A vector for each letter: TabM would embed each of 80 one-hot columns, at five times the cost.
        tabm=("trainer.max_epochs=10", "data.categories=embed"),
        # Trees split the letters of a position into two sets, which is faster and better than 80 one-hot columns.
        trees=("data.categories=embed",),
        last=("hist_gbdt", "hist_gbdt_sqinv"),
    ),
    # Windows are no table to the plan: resamplers and trees do not work on them.
    "beijing_pm25": Data(
        (
            *("+experiment=tabular", "data.path=beijing_pm25.csv", "data.target=pm2.5", "data.missing=drop"),
            *("data.split=time", "data.time=[year,month,day,hour]", "data.drop=[year,day]", "data.val_from=2013"),
            *("data.test_from=2014", "data.window=24", "model=gru"),
        ),
        "windows",
    ),
    "faces": Data(("+experiment=age_synthetic",), "picture", max_seeds=5, bmc_sigmas=(10.0, 20.0)),
}

SQINV = "method.lds={_target_: dir.LDS, kernel: null, reweight: sqrt_inverse, clip: null, max_weight: null}"
FDS = (
    "method.fds={_target_: dir.FDS, kernel: gaussian, kernel_size: 5, sigma: 2.0, momentum: 0.9, start_update: 0, "
    "start_smooth: 1, ratio_clip: [0.1, 10.0], min_count: 2, count_weighted: false, shrinkage: null, "
    "statistics: mean_var}"
)
FDS_SHRINK = (
    "method.fds={_target_: dir.FDS, kernel: exact_gaussian, kernel_size: 4095, sigma: '${task.shrink.sigma}', "
    "momentum: 0.0, start_update: 0, start_smooth: 1, ratio_clip: [0.1, 10.0], min_count: 2, count_weighted: true, "
    "shrinkage: '${task.shrink.tau}', statistics: mean}"
)
RESAMPLERS = ("random_under", "random_over", "gaussian_noise", "wercs", "smoter", "smogn")
TREES = tuple(
    (f"method.estimator.learning_rate={rate}", f"method.estimator.max_leaf_nodes={leaves}")
    for rate, leaves in product((0.05, 0.1), (15, 31, 63))
)


@dataclass(frozen=True)
class Training:
    """A training, from which one or several rows of the table are computed.

    Args:
        overrides: what makes the method.
        choices: six lists of overrides, one per trial. Empty: learning rates times ``settings``.
        settings: two lists of overrides that the trials combine with the three learning rates.
        pairs: six pairs of a factor of the learning rate and overrides.
        kinds: kinds of data sets that get this training; empty: all.
        only: names of the data sets that get this training; empty: all of its kinds.
        network: whether a network is trained.
        slow: whether it comes last, when all other trainings of all data sets are done.
    """

    overrides: tuple[str, ...]
    choices: tuple[tuple[str, ...], ...] = ()
    settings: tuple[tuple[str, ...], tuple[str, ...]] | None = None
    pairs: tuple[tuple[float, tuple[str, ...]], ...] = ()
    kinds: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    network: bool = True
    slow: bool = False


_LOSS_POWERS = (("method.loss_power=0.0",), ("method.loss_power=0.5",))
# A third of the learning rate won nowhere in the first plan. Its two trials made room for a wider normal in the
# cells, which had won for `histogram` on nine of fourteen data sets. The results keep them with the role "dropped".
_WIDE = ("method.loss_power=0.5", "method.cells.sigma=6.0")
_PRIOR_TRIALS = (
    *((1.0, _WIDE), (1.0, _LOSS_POWERS[0]), (3.0, _LOSS_POWERS[0])),
    *((3.0, _WIDE), (1.0, _LOSS_POWERS[1]), (3.0, _LOSS_POWERS[1])),
)
_CELL_SIGMAS = (("method.cells.sigma=3.0",), ("method.cells.sigma=6.0",))
# Four data sets on which FDS gets its chance under the histogram loss.
_FDS_DATA = ("abalone", "concrete", "stsb_minilm", "digits")

# None as settings: the two weight decays of the data set.
TRAININGS = {
    "vanilla": Training(("method=vanilla",)),
    "power_0.25": Training(("method=power", "method.power=0.25")),
    "sqinv": Training(("method=power", "method.power=0.5")),
    "inv": Training(("method=power", "method.power=1.0")),
    "lds": Training(
        ("method=lds",),
        settings=(
            ("method.lds.kernel_size=5", "method.lds.sigma=1.0"),
            ("method.lds.kernel_size=15", "method.lds.sigma=5.0"),
        ),
    ),
    "lds_fds": Training(
        ("method=lds_fds",),
        settings=(
            ("method.fds.kernel_size=5", "method.fds.sigma=2.0"),
            ("method.fds.kernel_size=15", "method.fds.sigma=5.0"),
        ),
    ),
    "bmc": Training(("method=bmc",)),
    "resampler": Training((), tuple((f"method={name}",) for name in RESAMPLERS), kinds=("table",)),
    "hist_gbdt": Training(("method=hist_gbdt",), TREES, kinds=("table",), network=False),
    "hist_gbdt_sqinv": Training(("method=hist_gbdt", "method.weights=sqinv"), TREES, kinds=("table",), network=False),
    "histogram": Training(("method=histogram",), settings=_CELL_SIGMAS),
    "histogram_prior": Training(("method=histogram_prior",), pairs=_PRIOR_TRIALS),
    "histogram_sqinv": Training(("method=histogram", SQINV)),
    "tabm_prior": Training(
        ("method=histogram_prior", "model=tabm"), pairs=_PRIOR_TRIALS, kinds=("table",), slow=True
    ),
    "histogram_fds": Training(("method=histogram", FDS), settings=_CELL_SIGMAS, only=_FDS_DATA),
    "histogram_fds_shrink": Training(("method=histogram", FDS_SHRINK), settings=_CELL_SIGMAS, only=_FDS_DATA),
}


def trainings_of(name: str, slow: bool | None = None) -> list[str]:
    """Return the trainings of a data set: the slow ones, the others, or (None) all."""
    kind, last = DATA[name].kind, DATA[name].last
    return [
        key
        for key, training in TRAININGS.items()
        if (not training.kinds or kind in training.kinds)
        and (not training.only or name in training.only)
        and (slow is None or (training.slow or key in last) == slow)
    ]


def trials(name: str, key: str, rate: float) -> list[tuple[str, ...]]:
    """Return the overrides of each of the six trials.

    Args:
        name: data set.
        key: training.
        rate: the data set's own learning rate, which the trials multiply.
    """
    data, training = DATA[name], TRAININGS[key]
    if training.choices:
        found = list(training.choices)
    elif training.pairs:
        found = [(f"optimizer.lr={rate * factor:.3g}", *setting) for factor, setting in training.pairs]
    else:
        settings = training.settings or tuple((f"optimizer.weight_decay={value:g}",) for value in data.weight_decays)
        if key == "bmc":
            settings = tuple((f"task.balanced_mse.sigma={value:g}",) for value in data.bmc_sigmas)
        found = [(f"optimizer.lr={rate * factor:.3g}", *setting) for setting in settings for factor in RATES]
    assert len(found) == NUM_TRIALS
    return found


def overrides_of(name: str, key: str) -> list[str]:
    """Return the overrides that every run of a training on a data set has, with file names in place of paths."""
    data, training = DATA[name], TRAININGS[key]
    # TabM brings its own batch size, chosen for small tables: big tables keep the bigger batch.
    network = data.network if training.network else data.trees
    tabm = data.tabm if "model=tabm" in training.overrides else ()
    return [*data.overrides, *training.overrides, *network, *tabm]
