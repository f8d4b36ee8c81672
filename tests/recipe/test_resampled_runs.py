"""Runs with resampling and with scikit-learn regressors, on a table with a category and a skewed label."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from sklearn.linear_model import LinearRegression

from dir.recipe.build import build
from dir.recipe.cli import config_dir, register_configs
from dir.recipe.run_folder import RunFolder
from dir.recipe.train import train

RESAMPLERS = ("smoter", "smogn", "gaussian_noise", "random_under", "random_over", "wercs")
LINEAR = (
    "method.ensemble=null",
    "method.estimator._target_=sklearn.linear_model.LinearRegression",
    "~method.estimator.min_samples_leaf",
)

OVER = "++method.resample={_target_: dir.resampling.SMOTER, random_state: 7}"


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., DictConfig]:
    random = np.random.default_rng(0)
    x = random.normal(size=(400, 2))
    kind = random.choice(["a", "b", "c"], 400)
    y = np.exp(x[:, 0]) + (kind == "b") + 0.1 * random.normal(size=400)
    pd.DataFrame({"kind": kind, "u": x[:, 0], "v": x[:, 1], "y": y}).to_csv(tmp_path / "x.csv", index=False)
    register_configs()

    def composed(*overrides: str) -> DictConfig:
        with initialize_config_dir(config_dir(), version_base="1.3"):
            fixed = [f"data.path={tmp_path / 'x.csv'}", "data.target=y", "trainer.accelerator=cpu", "logger=none"]
            return compose("train", ["+experiment=tabular", *fixed, *overrides])

    return composed


def run(cfg: DictConfig, path: Path) -> dict[str, Any]:
    folder = RunFolder(path)
    train(cfg, folder, {"method": "test"})
    content: dict[str, Any] = json.loads(folder.metrics.read_text())
    return content


@pytest.mark.parametrize("method", RESAMPLERS)
def test_a_resampler_changes_the_training_rows_but_not_bins_counts_units_or_shot_groups(
    config: Callable[..., DictConfig], method: str
) -> None:
    plain, other = build(config()), build(config(f"method={method}"))
    before, after = plain.data.labels("train"), other.data.labels("train")
    assert not torch.equal(before, after)
    high = float(np.quantile(before, 0.95))
    assert (after > high).float().mean() > 1.5 * (before > high).float().mean()
    for split in ("val", "test"):
        assert torch.equal(plain.data.labels(split), other.data.labels(split))
    assert torch.equal(plain.counts, other.counts)
    assert torch.equal(plain.bins.edges, other.bins.edges)
    for name in ("target_offset", "target_scale"):
        assert torch.equal(getattr(plain.module, name), getattr(other.module, name))
    groups = [parts.module.metrics for parts in (plain, other)]
    assert OmegaConf.to_container(config().task.shots, resolve=True) == {"by": "count", "many": 100, "few": 20}
    for metrics in groups:
        metrics.update(plain.data.labels("test"), plain.data.labels("test"))
    sizes = [{group: int(values["n"]) for group, values in metrics.compute().items()} for metrics in groups]
    assert sizes[0] == sizes[1]


def test_the_run_s_seed_draws_the_rows(config: Callable[..., DictConfig]) -> None:
    # The seed also draws the split: data.seed keeps the split fixed.
    labels = [
        build(config("method=smoter", f"seed={seed}", "data.seed=0")).data.labels("train").tolist()
        for seed in (0, 0, 1)
    ]
    assert labels[0] == labels[1] != labels[2]


def test_weights_of_a_resampled_run_are_those_of_the_resampled_labels(config: Callable[..., DictConfig]) -> None:
    lds = "++method.lds={_target_: dir.LDS, kernel: null}"
    parts = build(config("method=random_over", lds))
    assert parts.module.lds is not None
    assert parts.module.lds.counts.sum() == len(parts.data.labels("train")) > parts.counts.sum()


def test_a_resampled_run_ends_like_any_other(config: Callable[..., DictConfig], tmp_path: Path) -> None:
    content = run(config("method=smogn", "trainer.max_epochs=1"), tmp_path / "run")
    plain = run(config("trainer.max_epochs=1"), tmp_path / "plain")
    sizes = [{group: values["n"] for group, values in each["test"].items()} for each in (content, plain)]
    assert sizes[0] == sizes[1]
    assert content["test"] != plain["test"]


@pytest.mark.parametrize(
    "resampled",
    [(), ("++method.resample={_target_: dir.resampling.SMOTER, random_state: 7}",)],
    ids=["plain", "over"],
)
def test_a_regressor_s_run_is_scikit_learn_s_own_fit(
    config: Callable[..., DictConfig], tmp_path: Path, resampled: tuple[str, ...]
) -> None:
    content = run(config("method=bagging", *LINEAR, *resampled), tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    with np.load(folder.predictions, allow_pickle=False) as saved:
        label, prediction = saved["label"], saved["prediction"]
    data = build(config(*resampled)).data
    (x, y), (test_x, test_y) = (
        data.dataset(split).__getitems__(range(len(data.labels(split)))) for split in ("train", "test")
    )
    fitted = LinearRegression().fit(x.numpy(), y.numpy())
    np.testing.assert_allclose(prediction, fitted.predict(test_x.numpy()), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(label, test_y.numpy())
    assert content["test"]["all"]["mae"] == pytest.approx(np.abs(label - prediction).mean(), rel=1e-5)
    assert content["test"]["all"]["n"] == len(label)
    assert content["run"]["method"] == "test"
    assert {path.name for path in folder.path.iterdir()} == {
        "config.yaml",
        "metrics.json",
        "model",
        "predictions.npz",
        "data.json",
        "split.json.gz",
    }
    assert OmegaConf.load(folder.config).method.estimator._target_ == "sklearn.linear_model.LinearRegression"


def test_rebagg_is_better_on_few_shot_than_plain_bagging_of_the_same_trees(
    config: Callable[..., DictConfig], tmp_path: Path
) -> None:
    leaves = "method.estimator.min_samples_leaf=10"  # more rows than have a rare label
    few = {
        method: run(config(f"method={method}", leaves), tmp_path / method)["test"]["few"]["mae"]
        for method in ("rebagg", "bagging")
    }
    assert few["rebagg"] < few["bagging"]
    again = run(config("method=rebagg", leaves), tmp_path / "again")
    assert again["test"]["few"]["mae"] == few["rebagg"]


def test_a_regressor_keeps_a_protocol(config: Callable[..., DictConfig], tmp_path: Path) -> None:
    content = run(config("method=bagging", *LINEAR, "+protocol=gaps", "protocol.gaps=[[2,100]]"), tmp_path / "run")
    with np.load(tmp_path / "run/predictions.npz", allow_pickle=False) as saved:
        label, prediction = saved["label"], saved["prediction"]
    zero = content["test"]["zero"]
    # A bin is wider than 0.5, so labels just above 2 share a bin with training labels.
    assert (label >= 2).sum() >= zero["n"] >= (label >= 2.5).sum() > 0
    # A line through the remaining labels falls short of the labels beyond.
    assert (prediction - label)[label > 3].max() < 0
    assert zero["mae"] > content["test"]["all"]["mae"]


def test_folders_of_regressors_follow_the_same_rules(
    config: Callable[..., DictConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = config("method=bagging", *LINEAR)
    with monkeypatch.context() as patch:

        def killed(*_: Any) -> None:
            raise KeyboardInterrupt

        patch.setattr(LinearRegression, "fit", killed)
        with pytest.raises(KeyboardInterrupt):
            run(cfg, tmp_path / "run")
    with pytest.raises(RuntimeError, match="resume=true"):
        run(cfg, tmp_path / "run")
    run(config("method=bagging", *LINEAR, "resume=true"), tmp_path / "run")
    for resume in ("false", "true"):
        with pytest.raises(RuntimeError, match="never overwritten"):
            run(config("method=bagging", *LINEAR, f"resume={resume}"), tmp_path / "run")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("method=bagging", "++method.posthoc=affine"), r"^method\.posthoc: "),
        (("method=rebagg", "+regularizer=ranksim"), r"^regularizer: "),
        (("method=bagging", "method.views=2"), r"^method\.views: "),
        (("method=bagging", "method.loss={_target_: dir.losses.WeightedL1}"), r"^method\.loss: "),
        (
            ("method=bagging", "method.head={_target_: dir.models.EvidentialHead}"),
            "method.head: ",
        ),
        (("method=bagging", "early_stopping.patience=3"), r"^early_stopping\.patience: "),
        (("method=smoter", "method.resample.k=0"), "k: .*got 0"),
        (("method=rebagg", "method.ensemble.sampling=smote"), "sampling: .*got 'smote'"),
        (("method=smoter", "method.resample.threshold=2"), "threshold: .*got 2"),
    ],
)
def test_settings_that_no_part_of_the_run_reads_are_refused(
    config: Callable[..., DictConfig], tmp_path: Path, overrides: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        run(config(*overrides), tmp_path / "run")


def test_a_parameter_that_scikit_learn_refuses_is_named_and_nothing_is_left(
    config: Callable[..., DictConfig], tmp_path: Path
) -> None:
    folder = tmp_path / "refused"
    with pytest.raises(ValueError, match=r"^method: .*'n_estimators'.*Got 0.*method\.ensemble"):
        train(config("method=bagging", "method.ensemble.n_estimators=0"), RunFolder(folder), {})
    assert not folder.exists()


@pytest.mark.parametrize("method", ["smoter", "rebagg"])
def test_resampling_refuses_data_that_is_not_a_table_before_anything_is_written(
    tiny: Callable[..., DictConfig], tmp_path: Path, method: str
) -> None:
    with pytest.raises(ValueError, match=r"^data: TinyData is not a table"):
        run(tiny(f"method={method}"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
