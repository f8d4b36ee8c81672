"""Parts of methods that fit each other train together; the others are refused before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from dir.recipe.build import build
from dir.recipe.cli import config_dir
from dir.recipe.compatibility import check, check_overrides
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
    """Train without Lightning; return the module and the value of the regulariser at each step."""
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


def test_every_regulariser_trains_together_with_lds_and_fds_and_changes_the_encoder(tiny: Config) -> None:
    without, _ = steps(tiny("method=lds_fds"))
    assert len(REGULARIZERS) >= 5
    for name in REGULARIZERS:
        with_it, values = steps(tiny("method=lds_fds", f"+regularizer={name}", "regularizer.weight=10"))
        assert with_it.lds is not None
        assert int(with_it.model.fds.epoch) == 3
        assert values[-1] != 0, name
        first, second = (module.model.encoder.layers[0].weight for module in (with_it, without))
        assert not torch.allclose(first, second, rtol=1e-3), name


def test_every_loss_trains_together_with_every_regulariser(tiny: Config) -> None:
    added = [OmegaConf.to_container(tiny(f"+regularizer={name}").regularizer, resolve=True) for name in REGULARIZERS]
    for loss in ("bmc", "gai", "bni", "dist", "focal_r", "rbc", "uvote", "vir", "denseweight"):
        cfg = tiny(f"method={loss}")
        for node in added:
            cfg.regularizer = node
            check(cfg)
            module = build(cfg).module.train()
            module.log = lambda *args, **kwargs: None
            # Each label occurs twice, as with two views.
            inputs, labels = torch.randn(8, 4), torch.tensor([0.5, 1.0, 1.0, 7.0]).repeat(2)
            module.training_step((inputs, labels), 0).backward()
            assert all(torch.isfinite(p.grad).all() for p in module.parameters() if p.grad is not None)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        *(([f"method={name}", f"+regularizer={name}"], r"^regularizer: ") for name in REGULARIZERS),
        *(
            ([f"method={name}", LDS], r"^method\.lds: ")
            for name in ("bmc", "gai", "bni", "uvote")
        ),
        (["method=rrt", "method.loss={_target_: dir.losses.BMC}"], r"^method\.lds: "),
        (["method=prediction_shrink", f"method.head={EVIDENTIAL}"], r"^method\.output_fds: .*got \[3\]"),
        (["method=rbc", "method.head={_target_: dir.models.LinearHead}"], r"^method\.loss .*method\.head"),
        (["method=vanilla", f"method.head={EVIDENTIAL}"], r"^method\.loss .*method\.head: .*\[2, 3\]"),
        (["method=vir", "method.posthoc=affine"], r"^method\.posthoc: .*got 'affine'"),
        (["method=c_mixup", "method.views=2"], r"^method\.views: .*got 2"),
        (["method=fds", "method.output_fds={track: label}"], r"^method\.output_fds: "),
        (["method=vanilla", RETRAIN], r"^method\.retrain: .*method\.lds"),
        (["method=rrt", "method.retrain.features_only=true"], r"^method\.retrain\.features_only: .*got True"),
        (["method=lds_fds", RETRAIN], r"^method\.fds: .*method\.retrain\.checkpoint"),
        (["method=lds", "+regularizer=srl", RETRAIN], r"^regularizer: .*method\.retrain\.checkpoint"),
        (["method=c_mixup", LDS, RETRAIN], r"^method\.mixup: .*method\.retrain\.checkpoint"),
        (["method=rnc_two_stage", GIVEN, "+regularizer=srl"], r"^regularizer: .*method\.retrain\.checkpoint"),
        (["method=rnc_two_stage", GIVEN, FDS], r"^method\.fds: .*method\.retrain\.checkpoint"),
        (["method=rnc_two_stage", FDS], r"^method\.fds: .*method\.retrain\.features_only"),
        (["method=vanilla", "+method.lds.sigma=1"], r"^method\.lds\.sigma: .*got 1\. .*method=inv"),
        (["+method.resample.threshold=0.5"], r"^method\.resample\.threshold: .*got 0\.5\. .*method=smoter"),
        (["+method.mixup.alpha=1"], r"^method\.mixup\.alpha: .*got 1\. .*method=c_mixup"),
        (["+method.retrain.epochs=3"], r"^method\.retrain\.epochs: .*got 3\. .*method=rrt"),
        (["+method.output_fds.track=label"], r"^method\.output_fds\.track: .*got 'label'\. .*=label_shrink"),
        (["+method.estimator.max_depth=3"], r"^method\.estimator\.max_depth: .*got 3\. .*method=bagging"),
        (["+method.regularizer.weight=1"], r"^method\.regularizer\.weight: .*got 1\. .*method=ranksim"),
        (["+regularizer.weight=1"], r"^regularizer\.weight: .*got 1\. .*\+regularizer=NAME"),
        (["+scheduler.gamma=1"], r"^scheduler\.gamma: .*got 1\. .*scheduler=NAME"),
        (["method=rrt", "+method.retrain.epoch=3"], r"^method\.retrain\.epoch: "),
        (["method=rrt", "trainer.max_epochs=null"], r"^trainer\.max_epochs: .*got None"),
        (["method.ensemble={_target_: dir.resampling.REBAGG}"], r"^method\.ensemble: .*method\.estimator"),
        (["method.views=0"], r"^method\.views: .*got 0"),
    ],
)  # fmt: skip
def test_incompatible_settings_are_refused_before_anything_is_written(
    tiny: Config, tmp_path: Path, overrides: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        train(tiny(*overrides), RunFolder(tmp_path / "run"), {})
    assert not (tmp_path / "run").exists()


def test_mixup_refuses_token_ids(tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tiny_parts import TinyData

    make = TinyData.build

    def tokens(self: TinyData) -> dict:
        splits = make(self)
        for split in splits.values():
            split.inputs = split.inputs.long()
        return splits

    monkeypatch.setattr(TinyData, "build", tokens)
    with pytest.raises(ValueError, match=r"^method\.mixup: .*got torch\.int64"):
        train(tiny("method=c_mixup"), RunFolder(tmp_path / "run"), {})
    assert not (tmp_path / "run").exists()


def test_settings_of_drawn_splits_are_accepted_where_splits_are_drawn() -> None:
    method = {"estimator": None}
    for data, line in (
        ({"split_column": None, "group": None, "split": "balanced"}, "data.split_bins=9"),
        ({"split_column": None, "group": ["site"], "split": "random"}, "data.split=random"),
        ({"split_column": None, "group": ["site"], "split": "balanced"}, "data.share=0.2"),
        ({"split_column": None, "group": None, "split": "time"}, "data.share=0.2"),
        ({"split": "parts", "group": "site"}, "data.share=0.2"),
        ({"split": "parts", "group": None}, "data.split=parts"),
        ({"share": 0.05}, "data.share=0.2"),
    ):
        check_overrides(OmegaConf.create({"data": data, "method": method}), [line])


def test_the_checks_do_not_change_weights_modes_or_random_state(
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
    # The trial forward only tells SRL the number of features.
    assert {name.split(".")[0] for name in changed} == {"regularizers"}
    assert now["regularizers.0.centers"].shape[1] == 8
    assert not any(value.any() for name, value in now.items() if name in changed)
