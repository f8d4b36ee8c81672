"""The settings that dir-tune varies, its objectives, and what it refuses before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from dir.commands.advice import write_experiment
from dir.commands.sources import compose_config
from dir.commands.tune import main
from dir.commands.tune_plan import Plan
from dir.commands.tune_space import space_of, split_overrides
from dir.commands.tune_target import Target
from dir.recipe.cli import config_dir
from dir.recipe.schema import register_configs

TABLE = ("+experiment=tabular", "data.path=x.csv", "data.target=y")
SMOOTHING = ["method.{}.kernel", "task.{}.kernel_size", "task.{}.sigma"]
LDS = [*(key.format("lds") for key in SMOOTHING), "task.lds.reweight"]
FDS = [*(key.format("fds") for key in SMOOTHING), "method.fds.momentum"]
TREES = ["method.weights", *(f"method.estimator.{key}" for key in ("learning_rate", "max_leaf_nodes"))]


@pytest.mark.parametrize(
    ("method", "keys"),
    [
        ("inv", ["optimizer.lr"]),
        ("power", ["method.power", "optimizer.lr"]),
        ("lds_fds", [*LDS, *FDS, "optimizer.lr"]),
        ("fds_shrink", ["task.shrink.sigma", "task.shrink.tau", "optimizer.lr"]),
        ("ranksim", ["task.ranksim.weight", "optimizer.lr"]),
        ("histogram_prior", ["method.loss_power", "method.cells.sigma", "optimizer.lr"]),
        ("hist_gbdt", [*TREES, "method.estimator.min_samples_leaf"]),
    ],
)
def test_the_space_holds_the_settings_that_the_method_has(method: str, keys: list[str]) -> None:
    register_configs()
    cfg = compose_config([*TABLE, f"method={method}"])
    found = space_of(cfg, ["method"])
    assert [one.key for one in found] == keys
    # Each range holds the value of the config, from which the search starts.
    for one in found:
        assert one.distribution._contains(one.distribution.to_internal_repr(one.start))


def test_a_named_setting_is_kept_under_both_of_its_keys() -> None:
    register_configs()
    for key in ("task.lds.sigma", "method.lds.sigma"):
        cfg = compose_config([*TABLE, "method=lds", f"{key}=3"])
        assert [one.key for one in space_of(cfg, ["method", key])] == [*LDS[:2], "task.lds.reweight", "optimizer.lr"]


def test_a_cost_and_a_regularizer_that_are_added_are_kept_varied_and_written(tmp_path: Path) -> None:
    register_configs()
    added = ("+cost=linear", "cost.under=5", "+trainer.limit_train_batches=2")
    plan = Plan(tmp_path, (*TABLE, *added, "+regularizer=ranksim,srl"), Target("all", "cost"))
    assert [one.key for one in plan.space()] == ["regularizer", "task.ranksim.weight", "optimizer.lr"]
    lines = plan.settings(lambda one: "srl" if one.key == "regularizer" else one.start)
    assert lines[-3:-1] == ["+regularizer=srl", "task.srl.weight=0.1"]
    write_experiment(tmp_path, "best", lines, "Written by a test.")
    with initialize_config_dir(config_dir(), version_base="1.3"):
        written = compose("train", ["+experiment=best", f"hydra.searchpath=[file://{tmp_path}]"])
        direct = compose("train", [line.replace("x.csv", f"{Path.cwd()}/x.csv") for line in lines])
    assert written == direct
    assert (written.cost.under, written.cost.over, written.trainer.limit_train_batches) == (5, 1, 2)
    with pytest.raises(ValueError, match=r"^~logger: .* cannot delete keys, got '~logger'"):
        write_experiment(tmp_path, "other", ["+experiment=tabular", "~logger"], "")


def test_a_triangular_kernel_has_no_sigma(tmp_path: Path) -> None:
    register_configs()
    plan = Plan(tmp_path, (*TABLE, "method=lds", "optimizer.lr=0.01"), Target("all", "mae"))
    lines = plan.settings(lambda one: "triangular" if one.key == "method.lds.kernel" else one.start)
    assert lines[5:] == ["method.lds.kernel=triangular", "task.lds.kernel_size=5", "task.lds.reweight=sqrt_inverse"]
    fixed = Plan(tmp_path, (*TABLE, "method=lds", "method.lds.kernel=triangular"), Target("all", "mae"))
    assert [one.key for one in fixed.space()] == ["task.lds.kernel_size", "task.lds.reweight", "optimizer.lr"]


def test_sweeps_of_hydra_are_ranges() -> None:
    fixed, varied = split_overrides(
        [
            *(
                "+experiment=tabular",
                "data.drop=[a,b]",
                "method=lds,fds",
                "optimizer.lr=tag(log,interval(1e-4,1e-2))",
            ),
            *("task.lds.kernel_size=range(3,9,2)", "model.encoder.depth=int(interval(1,4))", "data.flip=choice(a,b)"),
        ]
    )
    assert fixed == ["+experiment=tabular", "data.drop=[a,b]"]
    assert list(map(str, varied)) == [
        "method: lds, fds",
        "optimizer.lr: 0.0001 to 0.01, log scale",
        "task.lds.kernel_size: 3, 5, 7",
        "model.encoder.depth: 1 to 4",
        "data.flip: a, b",
    ]
    with pytest.raises(ValueError, match=r"^optimizer\.lr: no range for a search"):
        split_overrides(["optimizer.lr=interval(2,1)"])
    with pytest.raises(ValueError, match=r"^method: expected a list or a range of values"):
        split_overrides(["method=glob(*)"])


def test_the_method_decides_the_settings_and_the_power_follows_the_objective(tmp_path: Path) -> None:
    register_configs()
    plan = Plan(tmp_path, (*TABLE, "method=lds,histogram_prior", "optimizer.lr=0.01"), Target("few", "mae"))
    assert plan.settings(lambda one: one.start)[3:5] == ["optimizer.lr=0.01", "method=lds"]
    prior = plan.settings(lambda one: "histogram_prior" if one.key == "method" else one.start)
    assert prior[4:-1] == ["method=histogram_prior", "method.loss_power=0", "method.cells.sigma=3"]
    assert prior[-1] == "method.power_objective=few/mae"
    assert "power_objective" in plan.why_not_pruned(compose_config(prior))
    assert plan.why_not_pruned(compose_config(plan.settings(lambda one: one.start))) == ""


def test_the_direction_is_that_of_the_metric() -> None:
    assert Target.parse("few/mae") == Target("few", "mae")
    assert Target.parse("balanced_mae").direction == "minimize"
    best = Target.parse("pearson")
    assert (best.direction, best.worse_by(0.5, 0.8)) == ("maximize", pytest.approx(0.3))
    assert best.read({"all": {"pearson": None}}) is None
    for wrong in ("mea", "rare/mae", "coverage90"):
        with pytest.raises(ValueError, match=r"^--objective: "):
            Target.parse(wrong)


@pytest.mark.parametrize(
    ("further", "match"),
    [
        (["seed=0,1"], r"^seed: a search compares its trials on the same"),
        (["data.share=0.1,0.2"], r"^data\.share: a search compares"),
        (["optimizer.lr=0.1"], r"^dir-tune: no setting is left to vary"),
        (["trainer.devices=2"], r"^trainer\.devices: a trial trains on one device"),
        (["--objective", "cost"], r"^--objective: the run has no cost"),
        (["--objective", "many/mae", "task.shots.many=500"], r"^--objective: no validation row is many-shot"),
        (["method=lds", "task.lds.kernel_size=4,6"], r"^kernel_size: expected an odd number"),
    ],
)
def test_wrong_searches_are_refused_before_anything_is_written(
    further: list[str], match: str, tmp_path: Path, write_table: Callable[..., Path]
) -> None:
    table = write_table(tmp_path / "doses.csv")
    given = ["+experiment=tabular", f"data.path={table}", "data.target=y", "data.split_column=part"]
    with pytest.raises(SystemExit, match=match):
        main([*given, *further, "--folder", str(tmp_path / "search"), "--trials", "1"])
    if "odd" not in match:  # the layer refuses this setting when the first trial builds it
        assert list(tmp_path.iterdir()) == [table]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["+experiment=tabular", "lds"],
        ["+experiment=tabular", "logger=csv"],
        ["+experiment=tabular", "--trials", "0"],
        ["+experiment=tabular", "--workers", "0"],
        ["+experiment=tabular", "--minutes", "-1"],
        ["+experiment=tabular", "--objective", "few"],
    ],
)
def test_wrong_arguments_end_with_the_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert "usage: " in capsys.readouterr().err
