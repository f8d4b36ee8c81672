"""Decoupled training (method=rrt): the second stage trains a new head with weights on a frozen encoder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from dir.compare.runs import find_runs
from dir.lds import LDS
from dir.losses import RankNContrast
from dir.recipe import two_stage
from dir.recipe.build import build
from dir.recipe.evaluate import evaluate_checkpoint
from dir.recipe.module import RegressionModule
from dir.recipe.run_folder import RunFolder
from dir.recipe.train import train

Config = Callable[..., DictConfig]
SHORT = ("trainer.max_epochs=2", "logger=none", "+model.encoder.batch_norm=true", "model.encoder.dropout=0.5")
RRT = (*SHORT, "method=rrt", "method.retrain.epochs=3", "method.retrain.lr=0.02")


def run(cfg: DictConfig, path: Path) -> dict:
    train(cfg, RunFolder(path), {"method": "test"})
    return json.loads((path / "metrics.json").read_text())


def weights(path: Path, part: str) -> dict[str, Tensor]:
    state = torch.load(path, weights_only=True)["state_dict"]
    return {name: value for name, value in state.items() if name.startswith(f"model.{part}.")}


def assert_same(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys() != set()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


@pytest.fixture
def modes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bool, bool, bool]]:
    """Record of each training step: encoder in training mode, head in training mode, loss with weights."""
    seen: list[tuple[bool, bool, bool]] = []
    step = RegressionModule.training_step

    def spy(self: RegressionModule, batch: tuple, batch_idx: int) -> Tensor:
        model = self.model
        layers = {layer.training for layer in model.encoder.modules()}
        assert len(layers) == 1
        seen.append((layers.pop(), model.head.training, self.lds is not None))
        return step(self, batch, batch_idx)

    monkeypatch.setattr(RegressionModule, "training_step", spy)
    return seen


def test_one_command_trains_both_stages_and_the_second_trains_only_the_head(
    tiny: Config, tmp_path: Path, modes: list[tuple[bool, bool, bool]]
) -> None:
    path = tmp_path / "tiny" / "rrt" / "seed_0"
    content = run(tiny(*RRT, "+regularizer=ranksim", "method.lds.reweight=inverse"), path)
    steps = len(modes) // 5
    assert modes == [(True, True, False)] * (2 * steps) + [(False, True, True)] * (3 * steps)
    assert content["run"]["epochs"] == 3
    assert content["run"]["stage_1"]["epochs"] == 2

    first = path / "stage_1" / "checkpoints/best.ckpt"
    for name in ("best", "last"):
        # The buffers of batch norm are compared as well.
        assert_same(weights(first, "encoder"), weights(path / f"checkpoints/{name}.ckpt", "encoder"))
    assert "model.encoder.layers.1.running_mean" in weights(first, "encoder")
    heads = [weights(p, "head")["model.head.weight"] for p in (first, path / "checkpoints/last.ckpt")]
    assert not torch.allclose(*heads, rtol=0.01)
    start = build(tiny(*RRT)).module.model.head.weight
    assert not torch.allclose(start, heads[1], rtol=0.01)

    # The first stage equals a run of the method without weights, to the last digit.
    plain = run(tiny(*SHORT, "+regularizer=ranksim"), tmp_path / "plain")
    assert json.loads((path / "stage_1/metrics.json").read_text())["test"] == plain["test"] != content["test"]
    # compare.py finds one run; evaluate.py reads both stages, because each has its config.
    assert [one.source for one in find_runs(tmp_path / "tiny")[0]] == [str(path / "metrics.json")]
    assert evaluate_checkpoint(path / "checkpoints/best.ckpt", [], trust=True)["test"] == content["test"]
    assert evaluate_checkpoint(first, [], trust=True)["test"] == plain["test"]
    assert OmegaConf.load(path / "stage_1/config.yaml").method.lds is None


def test_second_stage_starts_from_any_checkpoint_of_the_model(tiny: Config, tmp_path: Path) -> None:
    both = run(tiny(*RRT), tmp_path / "both")
    run(tiny(*SHORT), tmp_path / "vanilla")
    given = f"method.retrain.checkpoint={tmp_path / 'vanilla/checkpoints/best.ckpt'}"
    alone = run(tiny(*RRT, given), tmp_path / "alone")
    assert alone["test"] == both["test"]
    assert "stage_1" not in alone["run"]
    assert not (tmp_path / "alone/stage_1").exists()
    # Only the encoder is loaded from a run with another head and FDS.
    run(tiny(*SHORT, "method=vir"), tmp_path / "vir")
    given = tmp_path / "vir/checkpoints/last.ckpt"
    run(tiny(*RRT, f"method.retrain.checkpoint={given}"), tmp_path / "other")
    assert_same(weights(given, "encoder"), weights(tmp_path / "other/checkpoints/last.ckpt", "encoder"))


def test_weights_act_on_the_second_stage_only(tiny: Config, tmp_path: Path) -> None:
    run(tiny(*SHORT), tmp_path / "vanilla")
    given = (*RRT, "method=rrt_lds", f"method.retrain.checkpoint={tmp_path / 'vanilla/checkpoints/best.ckpt'}")
    cfg = tiny(*given, "method.lds.sigma=1", "+regularizer=srl")
    module = build(cfg).module
    assert isinstance(module.lds, LDS)
    assert (module.lds.kernel, module.lds.sigma) == ("gaussian", 1.0)
    assert len(module.regularizers) == 0
    assert {name for name, p in module.named_parameters() if p.requires_grad} == {
        "model.head.weight",
        "model.head.bias",
    }
    results = [
        run(tiny(*given, f"method.lds.reweight={how}"), tmp_path / how)["test"] for how in ("inverse", "sqrt_inverse")
    ]
    assert results[0] != results[1]


def test_rank_n_contrast_trains_the_encoder_on_two_views_and_then_the_head(
    tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows: list[tuple[int, int, bool]] = []
    step = RegressionModule.training_step

    def spy(self: RegressionModule, batch: tuple, batch_idx: int) -> Tensor:
        loss = step(self, batch, batch_idx)
        alone = len(self.regularizers) == 1 and bool(loss == self.regularizers[0](*seen[-1]))
        rows.append((len(batch[1]), len(self.regularizers), alone))
        return loss

    seen: list[tuple[Tensor, ...]] = []
    forward = RankNContrast.forward

    def kept(self: RankNContrast, *given: Tensor) -> Tensor:
        seen.append(given)
        return forward(self, *given)

    from tiny_parts import TinyData

    monkeypatch.setattr(TinyData, "augments", True)
    monkeypatch.setattr(RankNContrast, "forward", kept)
    monkeypatch.setattr(RegressionModule, "training_step", spy)
    settings = (*SHORT, "method=rnc_two_stage", "+data.noise=0.1", "method.retrain.epochs=3")
    content = run(tiny(*settings, "early_stopping.patience=1", "optimizer.lr=0.01"), tmp_path)
    # First two views of 32 samples with the loss of RnC alone, then one view without RnC.
    assert rows[0] == (64, 1, True)
    assert all(alone for _, count, alone in rows if count)
    assert rows[-1][1:] == (0, False)
    assert max(size for size, count, _ in rows if count == 0) == 32
    assert content["run"]["stage_1"]["epochs"] == 2  # early stopping ignores predictions that are not trained
    printed = capsys.readouterr().out
    assert printed.count("best epoch") == 2
    assert "pearson" not in printed.split("stage_1")[0], "the first stage prints no table"
    assert "pearson" in printed.split("stage_1")[1]
    first = tmp_path / "stage_1/checkpoints"
    assert_same(weights(first / "last.ckpt", "encoder"), weights(tmp_path / "checkpoints/last.ckpt", "encoder"))
    heads = [weights(path, "head") for path in (first / "last.ckpt", tmp_path / "checkpoints/last.ckpt")]
    assert not torch.equal(heads[0]["model.head.weight"], heads[1]["model.head.weight"])
    assert (
        content["val"]["all"]["mae"]
        < json.loads((tmp_path / "stage_1/metrics.json").read_text())["val"]["all"]["mae"]
    )


@pytest.mark.parametrize("moment", ["first stage", "between", "second stage"])
def test_killed_run_resumes_in_the_stage_that_was_interrupted(
    tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    whole = run(tiny(*RRT), tmp_path / "whole")
    calls = 0
    step = RegressionModule.training_step

    def counted(self: RegressionModule, batch: tuple, batch_idx: int) -> Tensor:
        nonlocal calls
        calls += 1
        second = self.lds is not None
        if self.current_epoch == 1 and batch_idx == 3 and moment == ("second stage" if second else "first stage"):
            raise OSError("killed")
        return step(self, batch, batch_idx)

    def killed(*args: object) -> None:
        raise OSError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(RegressionModule, "training_step", counted)
        if moment == "between":
            patch.setattr("dir.recipe.two_stage.load_encoder", killed)
        with pytest.raises(OSError, match="killed"):
            run(tiny(*RRT), tmp_path / "killed")
    assert not (tmp_path / "killed/metrics.json").exists()
    with pytest.raises(RuntimeError, match="resume=true"):
        run(tiny(*RRT), tmp_path / "killed")
    before, calls = calls, 0
    with monkeypatch.context() as patch:
        moment = "over"
        patch.setattr(RegressionModule, "training_step", counted)
        resumed = run(tiny(*RRT, "resume=true"), tmp_path / "killed")
    # An epoch has seven steps; finished epochs are not trained again.
    assert (before, calls) in [(7 + 4, 7 + 21), (14, 21), (14 + 7 + 4, 14)]
    assert (resumed["val"], resumed["test"]) == (whole["val"], whole["test"])
    assert resumed["run"]["stage_1"]["epochs"] == 2


def test_unsuitable_checkpoint_is_refused_before_anything_is_written(tiny: Config, tmp_path: Path) -> None:
    run(tiny(*SHORT), tmp_path / "vanilla")
    good = tmp_path / "vanilla/checkpoints/best.ckpt"
    torch.save({"weights": torch.zeros(3)}, tmp_path / "foreign.ckpt")
    cases = [
        (FileNotFoundError, r"none\.ckpt", tmp_path / "none.ckpt", ()),
        (ValueError, r"foreign\.ckpt.*state_dict", tmp_path / "foreign.ckpt", ()),
        (ValueError, r"encoder of .*: layers\.0\.weight \(8, 4\) instead of \(9, 4\)", good,
         ("model.encoder.num_features=9",)),
        (ValueError, "tested on other rows", good, ("data.sizes=[200,60,50]",)),
    ]  # fmt: skip
    for error, message, checkpoint, more in cases:
        with pytest.raises(error, match=f"method.retrain.checkpoint: .*{message}"):
            run(tiny(*RRT, f"method.retrain.checkpoint={checkpoint}", *more), tmp_path / "run")
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("method.lds=null", "the second stage has no weights"),
        ("method.retrain.epochs=0", r"method\.retrain\.epochs.*got 0"),
        ("method.retrain.lr=0.0", r"method\.retrain\.lr.*got 0\.0"),
    ],
)
def test_settings_that_leave_no_second_stage_are_refused(
    tiny: Config, tmp_path: Path, override: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        run(tiny(*RRT, override), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_second_stage_has_its_own_epochs_and_schedule(tiny: Config) -> None:
    cfg = tiny(*RRT, "scheduler=onecycle", "method.retrain.epochs=7")
    stage = two_stage.first_config(cfg)
    assert (stage.method.lds, stage.method.retrain, stage.trainer.max_epochs) == (None, None, 2)
    module = build(cfg).module
    schedule = module.configure_optimizers()["lr_scheduler"]
    assert schedule.total_steps == 8
    assert max(group["max_lr"] for group in schedule.optimizer.param_groups) == 0.02
