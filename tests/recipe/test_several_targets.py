"""data.target=[a,b]: one LabelBins, LDS, FDS, head and loss for each target on one encoder."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import DictConfig

from dir import FDS, LDS
from dir.compare.ensemble import read_members
from dir.compare.report import markdown, summary_grid
from dir.compare.runs import find_runs
from dir.compare.statistics import compare
from dir.data import automatic_bins
from dir.losses import BMC, WeightedMSE
from dir.metrics import ShotMetrics, TargetMetrics
from dir.models import TargetFDS, TargetHeads
from dir.recipe.build import build
from dir.recipe.compatibility import check
from dir.recipe.evaluate import evaluate_checkpoint
from dir.recipe.run_folder import RunFolder
from dir.recipe.train import train
from dir.reweighter import TargetWeights
from tests.recipe.conftest import compose_table

TWO = "data.target=[valence,arousal]"
Config = Callable[..., DictConfig]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Return the config of a short run on a table with a target of a small unit and one of a large unit."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=(300, 3)).round(4)
    frame = pd.DataFrame(x, columns=["u", "v", "w"])
    frame["valence"] = np.round(4 + 2 * x[:, 0] + draw.normal(size=300) / 2).clip(0, 9)
    frame["arousal"] = (100 * np.exp(0.8 * x[:, 1] + 0.2 * x[:, 2])).round(1)
    path = tmp_path_factory.mktemp("table") / "emo.csv"
    frame.to_csv(path, index=False)

    def composed(*overrides: str) -> DictConfig:
        return compose_table(path, 2, TWO, "task.shots.by=quantile", "model.encoder.hidden=[16]", *overrides)

    return composed


def run(cfg: DictConfig, path: Path) -> dict[str, Any]:
    train(cfg, RunFolder(path), {"method": path.parent.name})
    content: dict[str, Any] = json.loads((path / "metrics.json").read_text())
    return content


def last(path: Path) -> dict[str, Any]:
    return dict(torch.load(path / "checkpoints/last.ckpt", weights_only=True)["state_dict"])


@pytest.fixture(scope="module")
def root(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run of vanilla and of one of lds_fds, both finished."""
    root = tmp_path_factory.mktemp("outputs") / "emo"
    for method in ("vanilla", "lds_fds"):
        run(config(f"method={method}"), root / method / "seed_0")
    return root


def test_each_target_has_the_weights_and_statistics_of_its_own_lds_and_fds(config: Config) -> None:
    parts = build(config("method=lds_fds"))
    module, labels = parts.module, parts.data.labels("train")
    assert isinstance(module.lds, TargetWeights)
    settings = {"kernel_size": 5, "sigma": 1.0, "reweight": "sqrt_inverse"}
    apart = [LDS(bins, **settings).fit(labels[:, k]) for k, bins in enumerate(parts.bins_by_target)]
    expected = torch.stack([lds(labels[:, k]) for k, lds in enumerate(apart)], dim=1)
    torch.testing.assert_close(module.lds(labels), expected, rtol=0, atol=0)
    assert isinstance(module.model.fds, TargetFDS)
    features = torch.randn(len(labels), module.model.num_features, requires_grad=True)
    layers = [FDS(16, bins, ratio_clip=(0.1, 10.0)) for bins in parts.bins_by_target]
    module.train()
    for _ in range(2):
        found = module.model.fds(features, labels)
        by_hand = [layer(features, labels[:, k]) for k, layer in enumerate(layers)]
        torch.testing.assert_close(found, torch.stack(by_hand, dim=1), rtol=0, atol=0)
        for layer in (*module.model.fds, *layers):
            layer.end_epoch()
    assert not torch.equal(found[:, 0], found[:, 1])


def test_loss_is_the_mean_of_the_losses_of_each_target(config: Config) -> None:
    parts = build(config("method=lds"))
    module, (inputs, labels) = parts.module.eval(), next(iter(parts.data.train_dataloader()))
    output = module.model(inputs)
    losses = []
    for k in range(2):
        train_labels = parts.data.labels("train")[:, k].double()
        target = ((labels[:, k] - train_labels.mean()) / train_labels.std()).float()
        losses.append((module.lds[k](labels[:, k]) * (output[:, k] - target) ** 2).mean())
    found = module.training_step((inputs, labels), 0)
    torch.testing.assert_close(found, torch.stack(losses).mean(), rtol=1e-5, atol=1e-6)


def test_bmc_of_several_targets_is_one_softmax_over_the_sum_of_squared_distances(config: Config) -> None:
    module = build(config("method=bmc")).module
    assert isinstance(module.criterion, BMC)
    draw = torch.Generator().manual_seed(0)
    pred, target = (torch.randn(5, 2, generator=draw, dtype=torch.float64) for _ in range(2))
    variance, total = float(module.criterion.sigma.double()) ** 2, 0.0
    for i in range(5):
        distances = [sum(float(pred[i, k] - target[j, k]) ** 2 for k in range(2)) for j in range(5)]
        logits = -np.array(distances) / (2 * variance)
        total += -(logits[i] - np.log(np.exp(logits).sum())) * 2 * variance / 5
    assert float(module.criterion(pred, target)) == pytest.approx(total, rel=1e-6)


def test_a_list_of_one_target_is_the_scalar_form_bit_for_bit(config: Config, tmp_path: Path) -> None:
    drop = "data.drop=[arousal]"
    listed = run(config("method=lds_fds", drop, "data.target=[valence]"), tmp_path / "a/seed_0")
    plain = run(config("method=lds_fds", drop, "data.target=valence"), tmp_path / "b/seed_0")
    assert listed["test"] == plain["test"]
    one, two = last(tmp_path / "a/seed_0"), last(tmp_path / "b/seed_0")
    assert one.keys() == two.keys()
    for key, value in one.items():
        torch.testing.assert_close(value, two[key], rtol=0, atol=0, equal_nan=True, msg=key)
    assert config("data.target=[valence]").name == config("data.target=valence").name
    assert config("data.target=[valence]").task.unit == "valence"


def test_files_of_a_run_hold_each_target_and_the_mean_in_common_units(root: Path) -> None:
    path = root / "lds_fds/seed_0"
    content = json.loads((path / "metrics.json").read_text())
    with np.load(path / "predictions.npz", allow_pickle=False) as saved:
        label, prediction, shot = saved["label"], saved["prediction"], saved["shot"]
        assert saved["targets"].tolist() == ["valence", "arousal"]
    assert label.shape == prediction.shape == shot.shape
    scales = content["run"]["targets"]
    found = {}
    for k, name in enumerate(("valence", "arousal")):
        error = np.abs(label[:, k] - prediction[:, k])
        few = shot[:, k] == "few"
        assert content["test"][f"{name}/all"]["mae"] == pytest.approx(error.mean(), rel=1e-5)
        assert content["test"][f"{name}/few"]["mae"] == pytest.approx(error[few].mean(), rel=1e-5)
        assert content["test"][f"{name}/few"]["n"] == few.sum()
        found[name] = (error.mean() / scales[name], (error**2).mean() / scales[name] ** 2)
    expected = np.mean(list(found.values()), axis=0)
    assert [content["test"]["all"][name] for name in ("mae", "mse")] == pytest.approx(expected, rel=1e-5)
    assert scales["arousal"] > 10 * scales["valence"]


def test_evaluation_prints_the_same_and_names_the_mean(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = root / "vanilla/seed_0"
    found = evaluate_checkpoint(path, [])
    assert found["test"] == json.loads((path / "metrics.json").read_text())["test"]
    printed = capsys.readouterr().out
    assert "mean/few" in printed
    assert "valence/few" in printed
    assert "divided by the scale of their target" in printed


def test_compare_has_columns_for_each_target(root: Path) -> None:
    result = compare(find_runs(root)[0])
    assert result.groups[:6] == ("all", "many", "median", "few", "zero", "valence/all")
    assert summary_grid(result).header[2:] == (
        *("mean/all", "mean/many", "mean/median", "mean/few", "mean/zero"),
        *("valence/all", "valence/few", "arousal/all", "arousal/few", "balanced_mae"),
    )
    assert "| mean/all | " in markdown(result)
    # Each target has the decimals of its own unit: means are below 10, rare labels of arousal err by more than 100.
    cells = dict(zip(summary_grid(result).header, summary_grid(result).rows[0], strict=True))
    assert re.fullmatch(r"\d\.\d{3}", cells["mean/all"])
    assert re.fullmatch(r"\d{2}\.\d", cells["arousal/all"])
    with pytest.raises(ValueError, match="an ensemble has one target, and the run has several"):
        read_members([root / "vanilla/seed_0", root / "lds_fds/seed_0"])


def test_a_resumed_run_ends_as_an_uninterrupted_one(config: Config, tmp_path: Path) -> None:
    path = tmp_path / "lds_fds/seed_0"
    run_epochs = config("method=lds_fds", "scheduler=none")
    whole = run(run_epochs, tmp_path / "whole/seed_0")
    first = config("method=lds_fds", "scheduler=none", "trainer.max_epochs=1")
    run(first, path)
    for name in ("metrics.json", "predictions.npz"):
        (path / name).unlink()
    text = (path / "config.yaml").read_text()
    (path / "config.yaml").write_text(text.replace("max_epochs: 1\n", "max_epochs: 2\n"))
    resumed = run(config("method=lds_fds", "scheduler=none", "resume=true"), path)
    assert resumed["test"] == whole["test"]


def test_balanced_splits_hold_out_rare_labels_of_each_target(config: Config) -> None:
    data = build(config("data.share=0.2")).data
    splits = {split: data.labels(split) for split in ("train", "val", "test")}
    for k in range(2):
        # The bins of the split are those of all rows.
        bins = automatic_bins(torch.cat([labels[:, k] for labels in splits.values()]), 50)
        counts = {split: bins.counts(labels[:, k]) for split, labels in splits.items()}
        total = sum(counts.values())
        assert int(counts["test"][(total >= 3) & (total < 9)].sum()) > 0


@pytest.mark.parametrize(
    ("overrides", "match"),
    [
        (["method=ranksim"], r"^method\.regularizer: ranksim, .* know one target, and the run has 2, got"),
        (["method=c_mixup"], r"^method\.mixup: c_mixup know one target"),
        (["method=affine"], r"^method\.posthoc: affine"),
        (["method=rrt"], r"^method\.retrain: rrt"),
        (["method=smoter"], r"^method\.resample: smoter"),
        (["method=hist_gbdt"], r"^method\.estimator: trees"),
        (["method=histogram"], r"^method\.head: dir\.models\.HistogramHead has no form for several targets"),
        (["method=bni"], r"^method\.loss: dir\.losses\.BNI has no form .* dir\.losses\.BMC"),
        (["method=vir"], r"^method\.(head|fds): "),
        (["+cost=linear", "cost.under=2"], r"^cost: it knows one target"),
        (["+protocol=gaps"], r"^protocol: it knows one target"),
    ],
)
def test_methods_without_a_form_for_several_targets_are_refused_by_name(
    config: Config, overrides: list[str], match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        check(config(*overrides))


def test_ensembles_of_members_have_a_head_for_each_target_and_no_joint_loss(config: Config) -> None:
    pytest.importorskip("rtdl_num_embeddings", reason="the model needs the extra tabm")
    small = ("model=tabm", "model.encoder.members=3", "model.encoder.blocks=1", "model.encoder.hidden=8")
    with pytest.raises(ValueError, match=r"^method\.loss: BMC takes all targets at once"):
        build(config("method=bmc", *small))


def test_a_missing_label_of_one_target_is_refused_or_drops_the_row(config: Config, tmp_path: Path) -> None:
    frame = pd.read_csv(config().data.path)
    frame.loc[[3, 9], "arousal"] = np.nan
    frame.to_csv(tmp_path / "gaps.csv", index=False)
    cfg = config(f"data.path={tmp_path / 'gaps.csv'}")
    with pytest.raises(ValueError, match=r"column 'arousal': missing values in rows 4, 10.*data\.missing=drop"):
        build(cfg)
    cfg.data.missing = "drop"
    assert sum(len(build(cfg).data.labels(split)) for split in ("train", "val", "test")) == 298


def test_metrics_over_batches_equal_those_of_each_target_alone(config: Config) -> None:
    metrics = build(config()).module.metrics
    assert isinstance(metrics, TargetMetrics)
    draw = torch.Generator().manual_seed(1)
    labels = torch.rand(60, 2, generator=draw) * torch.tensor([9.0, 600.0])
    predictions = labels + torch.randn(60, 2, generator=draw)
    for rows in (slice(0, 40), slice(40, 60)):
        metrics.update(predictions[rows], labels[rows])
    found = metrics.compute()
    for k, (name, one) in enumerate(metrics.parts.items()):
        alone = ShotMetrics(one.bins, groups={"few": [0], "many": range(1, one.bins.num_bins)})
        alone._members = one._members
        alone.update(predictions[:, k], labels[:, k])
        for shot, values in alone.compute().items():
            for metric, value in values.items():
                torch.testing.assert_close(found[f"{name}/{shot}"][metric], value, equal_nan=True)
    assert isinstance(build(config()).module.criterion[0], WeightedMSE)
    assert isinstance(build(config()).module.model.head, TargetHeads)
