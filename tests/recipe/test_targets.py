"""A run folder's config.yaml is data: it builds listed targets only, and an older file gets their present names."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from hydra.utils import get_object
from omegaconf import DictConfig
from torch import nn

import dir.data
import dir.losses
import dir.models
import dir.resampling
from dir.data import RegressionData
from dir.models import Head, Regressor
from dir.recipe.cli import config_dir, evaluate_main
from dir.recipe.run_folder import RunFolder
from dir.recipe.targets import ARGUMENTS, TARGETS, current_target, read_config, upgrade
from dir.recipe.train import train

Config = Callable[..., DictConfig]


def written(path: Path, content: dict[str, object]) -> Path:
    path.write_text(yaml.safe_dump(content))
    return path


def test_every_target_of_the_configs_is_listed_and_every_listed_target_exists() -> None:
    text = "\n".join(path.read_text() for path in Path(config_dir()).rglob("*.yaml"))
    named = set(re.findall(r"_target_: ([\w.]+)", text))
    assert len(named) > 40
    # A callback of Hydra itself, which no config.yaml of a run folder holds.
    assert named - {"dir.commands.sweep.SweepReport"} <= TARGETS
    assert all(callable(get_object(target)) for target in TARGETS)


OF_TARGETS = {"TargetFDS", "TargetHeads"}
OF_MEMBERS = {"MemberDistributionHead", "MemberHead", "MemberLoss", "PiecewiseLinearEmbedding"}


def test_every_public_part_that_a_config_can_name_is_listed() -> None:
    for module, base, others in (
        # The recipe makes the containers of several targets, and the parts of members around head and loss.
        (dir.losses, nn.Module, {"Regularizer", "TargetLosses"}),
        (dir.models, nn.Module, {"DistributionHead", "Head", "PixelEncoder", "Regressor", *OF_MEMBERS, *OF_TARGETS}),
        (dir.data, RegressionData, {"RegressionData"}),
    ):
        parts = {name: getattr(module, name) for name in module.__all__}
        found = {name for name, part in parts.items() if inspect.isclass(part) and issubclass(part, base)} - others
        assert found
        assert {f"{module.__name__}.{name}" for name in found} <= TARGETS
    assert issubclass(get_object("dir.models.LinearHead"), Head)
    assert issubclass(Regressor, nn.Module)


def test_the_arguments_of_the_trainer_exist() -> None:
    for target, names in ARGUMENTS.items():
        assert names <= set(inspect.signature(get_object(target)).parameters)


@pytest.mark.parametrize(
    ("former", "present"),
    [
        ("dir.losses.balanced_mse_bni.BNI", "dir.losses.BNI"),
        ("dir.models.heads_evidential.EvidentialHead", "dir.models.EvidentialHead"),
        ("dir.data.age_synthetic.AgeSyntheticData", "dir.data.AgeSyntheticData"),
        ("dir.data.synthetic.sts_synthetic.STSSyntheticData", "dir.data.STSSyntheticData"),
        ("dir.data.base.automatic_bins", "dir.data.automatic_bins"),
        ("dir.bins.LabelBins.integers", "dir.LabelBins.integers"),
        ("dir.vir.ProbabilisticFDS", "dir.ProbabilisticFDS"),
        ("dir.fds.FDS", "dir.FDS"),
        ("dir.fds.layer.FDS", "dir.FDS"),
        ("dir.recipe.stages.NoLoss", "dir.recipe.two_stage.NoLoss"),
        ("dir.losses.WeightedL1", "dir.losses.WeightedL1"),
        ("mine.losses.dist_loss.DistLoss", "mine.losses.dist_loss.DistLoss"),
        ("dir.losses.nothing.Nothing", "dir.losses.nothing.Nothing"),
    ],
)
def test_an_older_config_gets_the_present_name_of_a_target(former: str, present: str) -> None:
    assert current_target(former) == present


def test_every_former_target_of_the_parts_has_a_present_name() -> None:
    for target in TARGETS:
        module, _, name = target.rpartition(".")
        if module in ("dir.losses", "dir.models", "dir.data", "dir.resampling"):
            home = get_object(target).__module__
            assert current_target(f"{home}.{name}") == target


def test_an_older_config_gets_the_family_of_its_loss() -> None:
    old = {"task": {"loss": {"_target_": "dir.losses.WeightedL1"}}, "list": [{"_target_": "dir.lds.LDS"}]}
    assert upgrade(old)["task"]["family"] == "l1"
    assert upgrade(old)["list"] == [{"_target_": "dir.LDS"}]
    assert "family" not in old["task"]


FORGED = [
    ({"_target_": "torch.load", "f": "x.pt", "weights_only": False}, "torch.load"),
    ({"_target_": "pandas.read_pickle", "filepath_or_buffer": "x.pkl"}, "pandas.read_pickle"),
    ({"_target_": "os.system", "command": "true"}, "os.system"),
    ({"_target_": "hydra.utils.instantiate", "config": {}}, "hydra.utils.instantiate"),
    ({"_target_": "builtins.exec", "_args_": ["1"]}, "_args_"),
    ({"_target_": "torch.pow", "_args_": [1, 2]}, "_args_"),
    ({"_target_": "${oc.env:HOME}"}, "oc.env"),
    ({"_target_": "dir.losses.WeightedL1", "path": "${oc.env:HOME}"}, "oc.env"),
    ({"_target_": "lightning.Trainer", "plugins": ["x"]}, "plugins"),
    ({"_target_": "lightning.Trainer", "default_root_dir": "/tmp"}, "default_root_dir"),
    ({"_target_": "lightning.Trainer", "strategy": {"_target_": "torch.pow"}}, "strategy"),
    ({"_target_": ["os.system"]}, "os.system"),
    ({"deep": [{"_target_": "dir.LDS", "reweight": {"_target_": "os.system"}}]}, "os.system"),
    ({"_target_": "dir.LDS.__init__.__globals__"}, "__globals__"),
    ({"_target_": "dir.LDS", "_recursive_": False}, "_recursive_"),
]


@pytest.mark.parametrize(("node", "named"), FORGED)
def test_a_forged_config_is_refused_by_name_and_not_with_trust(
    node: dict[str, object], named: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "config.yaml", {"model": {"encoder": node}})
    with pytest.raises(ValueError, match=rf"config\.yaml: model\.encoder.*{re.escape(named)}.*trust=true"):
        read_config(path)
    assert set(read_config(path, trust=True).model.encoder) == set(node)


@pytest.mark.parametrize("text", ["- 1", "a: [", "!!python/object/apply:os.system ['true']", "", "a: !!binary 1x"])
def test_a_file_that_is_no_config_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(text)
    if text:
        with pytest.raises(ValueError, match=r"config\.yaml: "):
            read_config(tmp_path / "config.yaml", trust=True)
    else:
        assert read_config(tmp_path / "config.yaml") == {}


def test_a_cache_outside_the_cache_of_the_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "config.yaml"
    for inside in (None, str(tmp_path / "cache/here")):
        read_config(written(path, {"data": {"cache_dir": inside}}))
    for outside in (str(tmp_path), str(tmp_path / "cache/../here")):
        written(path, {"data": {"cache_dir": outside}})
        with pytest.raises(ValueError, match=r"data\.cache_dir"):
            read_config(path)
        assert read_config(path, overrides=["data.cache_dir=mine"]).data.cache_dir == "mine"


def test_an_override_of_an_unknown_key_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "config.yaml", {"data": {"path": "a"}})
    with pytest.raises(ValueError, match=r"data\.pth"):
        read_config(path, overrides=["data.pth=b"])


def test_evaluate_needs_trust_for_a_target_of_the_user(
    tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tiny("trainer.max_epochs=1", "logger=none"), RunFolder(tmp_path / "run"), {})
    trained = capsys.readouterr().out
    checkpoint = RunFolder(tmp_path / "run").best
    with pytest.raises(SystemExit) as refused:
        evaluate_main([f"ckpt={checkpoint}"])
    assert "tiny_parts.TinyData" in str(refused.value)
    evaluate_main([f"ckpt={checkpoint}", "trust=true"])
    assert capsys.readouterr().out in trained


def test_evaluate_runs_no_code_of_a_forged_config(tiny: Config, tmp_path: Path) -> None:
    train(tiny("trainer.max_epochs=1", "logger=none"), RunFolder(tmp_path / "run"), {})
    folder = RunFolder(tmp_path / "run")
    content = yaml.safe_load(folder.config.read_text())
    mark = tmp_path / "code_was_run"

    class Mark:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (mark,))

    torch.save(Mark(), tmp_path / "x.pt")
    content["model"]["encoder"] = {"_target_": "torch.load", "f": str(tmp_path / "x.pt"), "weights_only": False}
    content["data"] = {"_target_": "dir.data.AgeSyntheticData", "limit": 40}
    content["trust"] = True  # of the file, which cannot vouch for itself
    written(folder.config, content)
    with pytest.raises(SystemExit, match=r"torch\.load"):
        evaluate_main([f"ckpt={folder.best}"])
    with pytest.raises(ValueError, match="AgeSyntheticData"):
        train(tiny("trainer.max_epochs=1", "logger=none", "resume=true"), unfinished(folder), {})
    assert not mark.exists()


def unfinished(folder: RunFolder) -> RunFolder:
    folder.metrics.unlink()
    return RunFolder(folder.path)
