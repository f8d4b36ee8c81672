"""Which parts of methods go together: each regulariser with LDS and FDS, and what contradicts is refused at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from dir.recipe.build import build
from dir.recipe.cli import config_dir
from dir.recipe.compatibility import check
from dir.recipe.module import RegressionModule
from dir.recipe.run_folder import RunFolder
from dir.recipe.train import train

Config = Callable[..., DictConfig]
REGULARIZERS = sorted(path.stem for path in (Path(config_dir()) / "regularizer").glob("*.yaml"))
LDS = "method.lds={_target_: dir.LDS, kernel: null}"
EVIDENTIAL = "{_target_: dir.models.EvidentialHead}"
FDS = "method.fds={_target_: dir.FDS}"
GIVEN = "method.retrain.checkpoint=x.ckpt"
RETRAIN = "method.retrain={checkpoint: x.ckpt, epochs: 1, lr: 0.1, features_only: false}"


def steps(cfg: DictConfig, epochs: int = 3) -> tuple[RegressionModule, list[float]]:
    """Trains as the engine does, without it; the regulariser's values by step."""
    check(cfg)
    torch.manual_seed(0)
    parts = build(cfg)
    module = parts.module.train()
    module.log = lambda *args, **kwargs: None
    optimizer = module.configure_optimizers()
    values: list[float] = []
    for regularizer in module.regularizers:
        regularizer.register_forward_hook(lambda *seen: values.append(float(seen[2].detach())))
    for _ in range(epochs):
        for batch in parts.data.train_dataloader():
            optimizer.zero_grad()
            loss = module.training_step(batch, 0)
            loss.backward()
            assert torch.isfinite(loss)
            assert all(torch.isfinite(p.grad).all() for p in module.parameters() if p.grad is not None)
            optimizer.step()
        for part in (module.model.fds, *module.regularizers):
            part.end_epoch()
    return module, values


def test_every_regulariser_trains_beside_lds_and_fds_and_moves_the_encoder(tiny: Config) -> None:
    without, _ = steps(tiny("method=lds_fds"))
    assert len(REGULARIZERS) >= 5
    for name in REGULARIZERS:
        with_it, values = steps(tiny("method=lds_fds", f"+regularizer={name}", "regularizer.weight=10"))
        assert with_it.lds is not None
        assert int(with_it.model.fds.epoch) == 3
        assert values[-1] != 0, name
        first, second = (module.model.encoder.layers[0].weight for module in (with_it, without))
        assert not torch.allclose(first, second, rtol=1e-3), name


def test_every_loss_trains_beside_every_regulariser(tiny: Config) -> None:
    added = [OmegaConf.to_container(tiny(f"+regularizer={name}").regularizer, resolve=True) for name in REGULARIZERS]
    for loss in ("bmc", "gai", "bni", "dist", "focal_r", "rbc", "uvote", "vir", "denseweight"):
        cfg = tiny(f"method={loss}")
        for node in added:
            cfg.regularizer = node
            check(cfg)
            module = build(cfg).module.train()
            module.log = lambda *args, **kwargs: None
            # Of two views labels come twice.
            inputs, labels = torch.randn(8, 4), torch.tensor([0.5, 1.0, 1.0, 7.0]).repeat(2)
            module.training_step((inputs, labels), 0).backward()
            assert all(torch.isfinite(p.grad).all() for p in module.parameters() if p.grad is not None)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        *(([f"method={name}", f"+regularizer={name}"], "the method has this one already") for name in REGULARIZERS),
        *(
            ([f"method={name}", LDS], r"method\.lds: \w+ corrects the imbalance .* already.*twice")
            for name in ("bmc", "gai", "bni", "uvote")
        ),
        (["method=rrt", "method.loss={_target_: dir.losses.BMC}"], "twice"),
        (["method=prediction_shrink", f"method.head={EVIDENTIAL}"], r"method\.output_fds: .*gives \[3\]"),
        (["method=rbc", "method.head={_target_: dir.models.LinearHead}"], r"method\.loss does not go with"),
        (["method=vanilla", f"method.head={EVIDENTIAL}"], r"method\.loss does not go with method\.head: .*\[2, 3\]"),
        (["method=vir", "method.posthoc=affine"], r"method\.posthoc: .*variances"),
        (["method=c_mixup", "method.views=2"], r"method\.views: mixed samples"),
        (["method=fds", "method.output_fds={track: label}"], r"in the place of method\.fds"),
        (["method=vanilla", RETRAIN], "second stage has no weights"),
        (["method=rrt", "method.retrain.features_only=true"], "no regulariser to train by"),
        (["method=lds_fds", RETRAIN], r"method\.fds: it acts on the first stage"),
        (["method=lds", "+regularizer=srl", RETRAIN], "regularizer: it acts on the first stage"),
        (["method=c_mixup", LDS, RETRAIN], r"method\.mixup: it acts on the first stage"),
        (["method=rnc_two_stage", GIVEN, "+regularizer=srl"], "regularizer: it acts on the first stage"),
        (["method=rnc_two_stage", GIVEN, FDS], r"method\.fds: it acts on the first stage"),
        (["method=rnc_two_stage", FDS], r"method\.fds: the first stage .* by the regulariser alone"),
        (["method=vanilla", "+method.lds.sigma=1"], r"method\.lds: settings \(sigma\) .* that has LDS; .*=inv"),
        (["+method.resample.threshold=0.5"], r"method\.resample: settings \(threshold\) without .*method=smoter"),
        (["+method.mixup.alpha=1"], r"method\.mixup: settings \(alpha\) without .*choose method=c_mixup"),
        (["+method.retrain.epochs=3"], r"method\.retrain: settings \(epochs\) without .*choose method=rrt"),
        (["+method.output_fds.track=label"], r"method\.output_fds: settings \(track\) without .*=label_shrink"),
        (["+method.estimator.max_depth=3"], r"method\.estimator: settings \(max_depth\) without .*method=bagging"),
        (["+method.regularizer.weight=1"], r"method\.regularizer: settings \(weight\) without .*method=ranksim"),
        (["+regularizer.weight=1"], r"regularizer: settings \(weight\) of none; choose one by \+regularizer=NAME"),
        (["+scheduler.gamma=1"], r"scheduler: settings \(gamma\) of none; choose one by scheduler=NAME"),
        (["method=rrt", "+method.retrain.epoch=3"], r"method\.retrain\.epoch: nothing reads it"),
        (["method=rrt", "trainer.max_epochs=null"], r"method\.retrain: expected at least one epoch.* epochs=None"),
        (["method.ensemble={_target_: dir.resampling.REBAGG}"], r"method\.ensemble: there is no method\.estimator"),
        (["method.views=0"], r"method\.views: expected at least 1, got 0"),
    ],
)  # fmt: skip
def test_contradictions_are_refused_before_anything_is_written(
    tiny: Config, tmp_path: Path, overrides: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        train(tiny(*overrides), RunFolder(tmp_path / "run"), {})
    assert not (tmp_path / "run").exists()


def test_token_ids_are_not_mixed(tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tiny_parts import TinyData

    make = TinyData.build

    def tokens(self: TinyData) -> dict:
        splits = make(self)
        for split in splits.values():
            split.inputs = split.inputs.long()
        return splits

    monkeypatch.setattr(TinyData, "build", tokens)
    with pytest.raises(ValueError, match=r"method\.mixup: inputs of type torch.int64"):
        train(tiny("method=c_mixup"), RunFolder(tmp_path / "run"), {})
    assert not (tmp_path / "run").exists()


def test_the_checks_leave_weights_modes_and_random_state_as_they_are(
    tiny: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = tiny("method=lds_fds", "+regularizer=srl")
    torch.manual_seed(3)
    module, drawn = build(cfg).module, torch.rand(())
    assert all(part.training for part in module.model.modules())
    monkeypatch.setattr("dir.recipe.build.check_parts", lambda *parts: None)
    torch.manual_seed(3)
    unchecked, drawn_unchecked = build(cfg).module, torch.rand(())
    assert torch.equal(drawn, drawn_unchecked)
    now, before = module.state_dict(), unchecked.state_dict()
    changed = {name for name in now if name not in before or not torch.equal(now[name], before[name])}
    # SRL has learned how wide the features are, and nothing else.
    assert {name.split(".")[0] for name in changed} == {"regularizers"}
    assert now["regularizers.0.centers"].shape[1] == 8
    assert not any(value.any() for name, value in now.items() if name in changed)
