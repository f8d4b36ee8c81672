"""data.log_target: the criterion sees log(1 + label), everything else sees raw labels."""

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
from omegaconf import DictConfig

from dir.data import table_target
from dir.data.table_target import choose_log1p
from dir.recipe.build import build
from dir.recipe.cli import config_dir, register_configs
from dir.recipe.evaluate import evaluate_checkpoint
from dir.recipe.run_folder import RunFolder
from dir.recipe.train import train

Config = Callable[..., DictConfig]
TRUE = "data.log_target=true"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Return a config of a table with a skewed label, its logarithm, a plain label and a negative label."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=(240, 3)).round(4)
    # Eighths are exact in float32, so that a logarithm by hand starts from the same number.
    price = (8 * (5 * np.exp(1.2 * x[:, 0]) + draw.uniform(size=240))).round() / 8
    frame = pd.DataFrame({"u": x[:, 0], "v": x[:, 1], "w": x[:, 2], "price": price, "log_price": np.log1p(price)})
    frame["plain"] = (10 + x[:, 1] + 0.1 * draw.normal(size=240)).round(3)
    frame["signed"] = np.where(np.arange(240) % 17 == 0, -3.0, price)
    for target in ("price", "log_price", "plain", "signed"):
        columns = ["u", "v", "w", target]
        frame[columns].to_csv(tmp_path / f"{target}.csv", index=False)
    register_configs()

    def composed(*overrides: str, target: str = "price") -> DictConfig:
        fixed = (f"data.path={tmp_path / target}.csv", f"data.target={target}", "trainer.accelerator=cpu")
        more = ("logger=none", "trainer.max_epochs=2", "data.split=random", "data.batch_size=64")
        with initialize_config_dir(config_dir(), version_base="1.3"):
            return compose("train", ["+experiment=tabular", *fixed, *more, *overrides])

    return composed


def run(cfg: DictConfig, path: Path) -> dict[str, Any]:
    train(cfg, RunFolder(path), {"method": "test"})
    content: dict[str, Any] = json.loads((path / "metrics.json").read_text())
    return content


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path / "checkpoints/last.ckpt", weights_only=True)["state_dict"]


def test_training_equals_that_on_a_column_of_logarithms_computed_by_hand(config: Config, tmp_path: Path) -> None:
    run(config(TRUE), tmp_path / "log")
    run(config(target="log_price"), tmp_path / "by_hand")
    one, two = weights(tmp_path / "log"), weights(tmp_path / "by_hand")
    assert one.keys() == two.keys()
    for key in one:
        if not key.startswith("metrics."):
            torch.testing.assert_close(one[key], two[key], rtol=0, atol=0, msg=key)


def test_targets_are_standardised_logarithms_and_predictions_are_raw(config: Config) -> None:
    module = (parts := build(config(TRUE))).module
    labels = parts.data.labels("train")
    by_hand = np.log1p(labels.numpy().astype(np.float64))
    expected = (by_hand - by_hand.mean()) / by_hand.std(ddof=1)
    np.testing.assert_allclose(module.to_target(labels), expected, atol=1e-5)
    torch.testing.assert_close(module.to_raw(module.to_target(labels)), labels, rtol=1e-5, atol=1e-5)


def test_variances_follow_the_slope_of_the_map(config: Config) -> None:
    module = build(config(TRUE, "method=uvote")).module
    step = 1e-3
    target = torch.tensor([-1.0, 0.0, 1.5], dtype=torch.float64)
    slope = (module.units.to_raw64(target + step) - module.units.to_raw64(target - step)) / (2 * step)
    found = module.units.raw_variance(target.float(), torch.tensor([0.04, 0.01, 0.09]))
    torch.testing.assert_close(found.double(), slope.square() * torch.tensor([0.04, 0.01, 0.09]), rtol=1e-4, atol=0)


def test_bins_shots_weights_and_resampling_see_raw_labels(config: Config) -> None:
    method = ("method=lds_fds", "++method.resample={_target_: dir.resampling.SMOTER, random_state: 7}")
    plain, log = build(config(*method)), build(config(TRUE, *method))
    assert torch.equal(plain.bins.edges, log.bins.edges)
    assert torch.equal(plain.counts, log.counts)
    assert plain.module.lds is not None
    assert log.module.lds is not None
    assert torch.equal(plain.module.lds.weights, log.module.lds.weights)
    assert torch.equal(plain.data.labels("train"), log.data.labels("train"))
    labels = plain.data.labels("test")
    assert torch.equal(plain.module.metrics.bins(labels), log.module.metrics.bins(labels))
    # The bins that the criterion gets hold the same labels.
    assert torch.equal(log.module.units.bins(log.bins)(log.module.to_target(labels)), log.bins(labels))


def test_auto_takes_the_logarithm_of_skewed_labels_alone(
    config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    skewed = run(config("data.log_target=auto"), tmp_path / "skewed")["run"]["target"]
    assert skewed["log1p"] is True
    assert "skewness" in skewed["reason"]
    assert skewed["reason"] in capsys.readouterr().out
    for target in ("plain", "signed"):
        data = build(config("data.log_target=auto", target=target)).data
        assert data.log1p is False
    kept = json.loads((tmp_path / "skewed/data.json").read_text())
    assert kept["description"]["target"] == skewed
    assert kept["fingerprint"]["settings"]["log1p"] is True


def test_auto_decides_by_the_training_labels() -> None:
    skewed = np.exp(np.linspace(0, 8, 100))
    assert choose_log1p("auto", skewed).log1p
    assert not choose_log1p("auto", skewed - 2).log1p
    assert not choose_log1p("auto", np.linspace(0, 8, 100)).log1p
    # The logarithm maps two values to two values, which are as skewed as before.
    assert not choose_log1p("auto", np.r_[np.zeros(1000), 1.0]).log1p


def test_false_is_the_default_and_changes_nothing(config: Config, tmp_path: Path) -> None:
    assert config().data.log_target is False
    found = run(config(), tmp_path / "plain")
    assert found["run"]["target"]["log1p"] is False
    assert "log1p" not in json.loads((tmp_path / "plain/data.json").read_text())["fingerprint"]["settings"]
    labels = (parts := build(config())).data.labels("train")
    expected = (labels - labels.double().mean().float()) / labels.double().std().float()
    assert torch.equal(parts.module.to_target(labels), expected)


@pytest.mark.parametrize(
    ("overrides", "target", "message"),
    [
        ((TRUE,), "signed", r"^data\.log_target: .*signed.*got -3\.0\. "),
        (("data.log_target=log",), "price", r"^.*data\.log_target: .*got 'log'"),
        (("data.log_target=1",), "price", r"^.*data\.log_target: .*got 1"),
        ((TRUE, "method=rbc"), "price", r"^data\.log_target: method\.head=ClassificationHead .*got True"),
        ((TRUE, "method=rbc_prior"), "price", r"^data\.log_target: method\.head=ClassificationHead .*got True"),
        ((TRUE, "method=bni"), "price", r"^data\.log_target: method\.loss=BNI .*got True"),
        (
            (TRUE, "++task.bins={_target_: dir.LabelBins.uniform, low: -5, high: 300, num_bins: 9}"),
            "price",
            r"^data\.log_target: .*got -5",
        ),
    ],
)
def test_settings_that_cannot_be_right_are_refused_before_anything_is_written(
    config: Config, tmp_path: Path, overrides: tuple[str, ...], target: str, message: str
) -> None:
    with pytest.raises(Exception, match=message):
        run(config(*overrides, target=target), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_resampled_labels_without_a_logarithm_are_refused(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    from dir.resampling import GaussianNoise

    def below(self: GaussianNoise, features: pd.DataFrame, labels: pd.Series) -> tuple[pd.DataFrame, pd.Series]:
        return features, labels.where(labels.index != 3, -1.5)

    monkeypatch.setattr(GaussianNoise, "fit_resample", below)
    with pytest.raises(ValueError, match=r"^data\.log_target: 1 of .*got -1\.5"):
        build(config(TRUE, "method=gaussian_noise"))


def test_evaluation_repeats_the_table_with_the_choice_of_the_run(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = run(config("data.log_target=auto"), tmp_path / "run")
    # An evaluation does not choose again, not even where another release would choose otherwise.
    monkeypatch.setattr(table_target, "choose_log1p", lambda *_: table_target.TargetChoice(False, "never"))
    splits = evaluate_checkpoint(tmp_path / "run/checkpoints/best.ckpt", [])
    assert splits == {split: found[split] for split in ("val", "test")}


def test_a_resumed_run_ends_as_an_uninterrupted_one(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = config("data.log_target=auto", "trainer.max_epochs=3")
    expected = run(cfg, tmp_path / "whole")
    from dir.recipe.module import RegressionModule

    with monkeypatch.context() as patch:

        def killed(self: RegressionModule) -> None:
            if self.current_epoch == 2:
                raise RuntimeError("killed")

        patch.setattr(RegressionModule, "on_train_epoch_start", killed)
        with pytest.raises(RuntimeError, match="killed"):
            run(cfg, tmp_path / "run")
    found = run(config("data.log_target=auto", "trainer.max_epochs=3", "resume=true"), tmp_path / "run")
    assert found["test"] == expected["test"]
    # A choice that differs from the kept one is refused.
    (tmp_path / "run/metrics.json").unlink()
    monkeypatch.setattr(table_target, "choose_log1p", lambda *_: table_target.TargetChoice(False, "never"))
    with pytest.raises(ValueError, match=r"resume: .*settings\.log1p \(True -> False\)"):
        run(config("data.log_target=auto", "trainer.max_epochs=3", "resume=true"), tmp_path / "run")


@pytest.mark.parametrize("method", ["bagging", "rebagg"])
def test_a_regressor_of_scikit_learn_sees_logarithms(config: Config, tmp_path: Path, method: str) -> None:
    from sklearn.linear_model import LinearRegression

    settings = (f"method={method}",)
    if method == "bagging":
        settings += (
            "method.ensemble=null",
            "method.estimator._target_=sklearn.linear_model.LinearRegression",
            "~method.estimator.min_samples_leaf",
        )
    run(config(TRUE, *settings), tmp_path / "run")
    with np.load(tmp_path / "run/predictions.npz", allow_pickle=False) as saved:
        label, prediction = saved["label"].astype(float), saved["prediction"].astype(float)
    if method == "rebagg":
        assert np.abs(np.log1p(prediction) - np.log1p(label)).mean() < 0.5 * np.log1p(label).std()
        return
    data = build(config()).data
    (x, y), (test_x, _) = (
        data.dataset(split).__getitems__(range(len(data.labels(split)))) for split in ("train", "test")
    )
    fitted = LinearRegression().fit(x.numpy(), np.log1p(y.numpy().astype(float)))
    np.testing.assert_allclose(prediction, np.expm1(fitted.predict(test_x.numpy())), rtol=1e-4)
