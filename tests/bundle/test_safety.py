"""Bundles that are damaged, malformed or hostile are refused, and loading needs neither Hydra nor Lightning."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from torch import nn

from dir import LabelBins
from dir.bundle import BundleError, Description, load, save
from dir.bundle.description import bins_to_dict
from dir.models import LinearHead, MLPEncoder, Regressor

Run = Callable[..., Path]
ROOT = Path(__file__).resolve().parents[2]


def describe(**changes: Any) -> Description:
    content: dict[str, Any] = {
        "input": {"kind": "arrays"},
        "target": {"name": "price", "unit": "euro", "offset": 250.0, "scale": 80.0},
        "architecture": {
            "encoder": {"_target_": "dir.models.MLPEncoder", "in_features": 3, "hidden": [8]},
            "head": {"_target_": "dir.models.LinearHead"},
        },
        "head_bins": bins_to_dict(LabelBins.uniform(-3, 3, 10)),
    }
    return Description(**(content | changes))


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return save(tmp_path / "model", Regressor(MLPEncoder(3, [8]), LinearHead(8)), describe())


def forge(bundle: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Changes model.json as a forger would: with a correct hash."""
    path = bundle / "model.json"
    content = json.loads(path.read_text())
    change(content)
    content["sha256"] = "0" * 64
    text = json.dumps(content, indent=1) + "\n"
    digest = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(text.replace('"sha256": "' + "0" * 64, f'"sha256": "{digest}'))
    return bundle


def test_every_flipped_bit_is_noticed(bundle: Path) -> None:
    random = np.random.default_rng(0)
    for file in ("model.json", "weights.safetensors"):
        path = bundle / file
        whole = path.read_bytes()
        for _ in range(150):
            damaged = bytearray(whole)
            damaged[random.integers(len(whole))] ^= 1 << random.integers(8)
            path.write_bytes(damaged)
            with pytest.raises(BundleError, match="damaged"):
                load(bundle)
        for size in (0, 1, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:size])
            with pytest.raises(BundleError, match="damaged"):
                load(bundle)
        path.write_bytes(whole)
    load(bundle)


TOO_DEEP: Any = 0
for _ in range(40):
    TOO_DEEP = [TOO_DEEP]


def encoder(key: str, value: Any) -> Callable[[dict[str, Any]], object]:
    return lambda c: c["architecture"]["encoder"].update({key: value})


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda c: c.update(version=4), "version.*got 4"),
        (lambda c: c.update(version=True), "version"),
        (lambda c: c.update(format="x"), "format.*got 'x'"),
        (lambda c: c.pop("input"), "input.*got None"),
        (lambda c: c.update(input=[]), r"input.*got \[\]"),
        (lambda c: c["input"].update(kind="pickle"), "kind.*'pickle'"),
        (lambda c: c["target"].update(scale=0), "target.scale.*got 0"),
        (lambda c: c["target"].update(offset="1"), "target.offset.*got '1'"),
        (lambda c: c["target"].update(offset=10**400), "target.offset"),
        (lambda c: c["head_bins"].update(edges=[1.0, 1.0]), "head_bins.edges"),
        (lambda c: c["head_bins"].update(dtype="object"), "dtype.*'object'"),
        (lambda c: c.update(counts=[-1]), "counts.*got -1"),
        (lambda c: c.update(batch_size=0), "batch_size.*got 0"),
        (lambda c: c.update(correction={"kind": "affine", "x": [1, 0], "y": [0, 1]}), "correction"),
        (lambda c: c["files"].clear(), "files.weights"),
        (encoder("_target_", "os.system"), "_target_.*'os.system'"),
        (encoder("_target_", "dir.models.Regressor"), "_target_.*'dir.models.Regressor'"),
        (encoder("_target_", "dir.models.__loader__"), "_target_"),
        (encoder("_target_", ["dir.models.MLPEncoder"]), "_target_"),
        (encoder("in_features", 10**9), "weights do not fit"),
        (encoder("in_features", 10**30), "in_features"),
        (encoder("hidden", [10**9, 10**9]), "weights do not fit|cannot be built"),
        (encoder("hidden", [1] * 100_000), "hidden.*got 100000"),
        (encoder("hidden", [{"_target_": "os.system"}]), "hidden"),
        (encoder("hidden", TOO_DEEP), "hidden"),
        (encoder("norm", {"zeros": [10**12]}), "cannot be built"),
        (encoder("password", 1), "cannot be built.*password"),
        (encoder("dropout", 2.0), "dropout.*2.0"),
    ],
)
def test_a_forged_description_is_refused(
    bundle: Path, change: Callable[[dict[str, Any]], object], match: str
) -> None:
    with pytest.raises(BundleError, match=match):
        load(forge(bundle, change))


@pytest.mark.parametrize("text", ["[" * 100_000, "{", '{"a": NaN}', '{"a": 1, "a": 2}', "\ufeff{}", "\x00"])
def test_other_text_is_no_description(bundle: Path, text: str) -> None:
    (bundle / "model.json").write_text(text)
    with pytest.raises(BundleError, match="damaged"):
        load(bundle)


def swap_weights(bundle: Path, content: bytes) -> Path:
    (bundle / "weights.safetensors").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    return forge(bundle, lambda c: c["files"]["weights.safetensors"].update(sha256=digest))


def test_forged_weights_are_refused(bundle: Path, tmp_path: Path) -> None:
    whole = (bundle / "weights.safetensors").read_bytes()
    weights = safetensors.torch.load(whole)
    key = "encoder.layers.0.weight"
    for changed in (
        {name: value for name, value in weights.items() if name != key},
        weights | {"more": torch.zeros(1)},
        weights | {key: torch.zeros(3, 8)},
        weights | {key: torch.zeros(8, 3, dtype=torch.int32)},
    ):
        with pytest.raises(BundleError, match=r"weights do not fit.*(more|encoder)"):
            load(swap_weights(bundle, safetensors.torch.save(changed)))

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "ran"),)

    for content in (pickle.dumps(Bomb()), b"", b"\xff" * 64, (10**15).to_bytes(8, "little") + b"{}"):
        with pytest.raises(BundleError, match="safetensors"):
            load(swap_weights(bundle, content))
    assert not (tmp_path / "ran").exists()


def test_a_pipe_in_place_of_a_file_is_refused(bundle: Path) -> None:
    (bundle / "weights.safetensors").unlink()
    os.mkfifo(bundle / "weights.safetensors")
    with pytest.raises(FileNotFoundError, match=r"weights\.safetensors"):
        load(bundle)
    with pytest.raises(FileNotFoundError, match=r"model\.json"):
        load(bundle.parent / "nothing")


def test_a_scikit_learn_bundle_holds_listed_types_alone(table_run: Run, tmp_path: Path) -> None:
    import skops.io

    bundle = tmp_path / "model"
    shutil.copytree(table_run("method=bagging") / "model", bundle)

    def swap(content: bytes, trusted: list[str]) -> Path:
        (bundle / "estimator.skops").write_bytes(content)
        about = {"sha256": hashlib.sha256(content).hexdigest(), "trusted": trusted}
        return forge(bundle, lambda c: c["files"].update({"estimator.skops": about}))

    whole = (bundle / "estimator.skops").read_bytes()
    listed = skops.io.get_untrusted_types(data=whole)
    with pytest.raises(BundleError, match=r"did not list.*TableEncoder"):
        load(swap(whole, []))
    load(swap(whole, listed))
    with pytest.raises(BundleError, match=r"not trusted.*Popen"):
        load(swap(skops.io.dumps([subprocess.Popen]), ["subprocess.Popen"]))
    with pytest.raises(BundleError, match="damaged"):
        load(swap(whole[:1000], listed))


def test_the_trees_of_a_scikit_learn_bundle_stay_inside(table_run: Run) -> None:
    from dir.bundle.estimators import _check_tree, _parts

    model = load(table_run("method=bagging"))
    trees = [part for part in _parts(model.estimator, set()) if type(part).__name__ == "Tree"]
    assert len(trees) == 20
    tree = trees[0]
    _check_tree(tree, "x")
    state = tree.__getstate__()
    state["nodes"] = state["nodes"].copy()
    state["nodes"]["left_child"][0] = 10**6
    tree.__setstate__(state)
    with pytest.raises(BundleError, match="out of range"):
        _check_tree(tree, "x")


class Sum(nn.Module):
    num_features = 1

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs.sum(dim=1, keepdim=True)


def test_a_class_of_the_user_is_given_by_the_user(tmp_path: Path) -> None:
    parts = {"encoder": {"_target_": "mine.Sum"}, "head": {"_target_": "dir.models.LinearHead"}}
    regressor = Regressor(Sum(), LinearHead(1)).eval()
    bundle = save(tmp_path / "model", regressor, describe(architecture=parts))
    with pytest.raises(BundleError, match=r"classes=\{'mine\.Sum'"):
        load(bundle)
    inputs = np.ones((4, 3), np.float32)
    with torch.no_grad():
        expected = regressor(torch.from_numpy(inputs)) * 80 + 250
    np.testing.assert_array_equal(load(bundle, classes={"mine.Sum": Sum}).predict(inputs), expected.numpy())


def test_saving_replaces_a_bundle_and_nothing_else(bundle: Path, tmp_path: Path) -> None:
    regressor = Regressor(MLPEncoder(3, [8]), LinearHead(8)).eval()
    save(bundle, regressor, describe())
    assert {path.name for path in tmp_path.iterdir()} == {"model"}
    np.testing.assert_allclose(
        load(bundle).predict(np.ones((1, 3))),
        regressor(torch.ones(1, 3)).detach().numpy() * 80 + 250,
        rtol=1e-6,
    )
    before = (bundle / "model.json").read_bytes()
    with pytest.raises(BundleError, match="JSON"):
        save(bundle, regressor, describe(run={"mae": float("nan")}))
    assert (bundle / "model.json").read_bytes() == before
    (tmp_path / "other").mkdir()
    (tmp_path / "other/thesis.txt").write_text("years of work")
    with pytest.raises(BundleError, match="other files"):
        save(tmp_path / "other", regressor, describe())


def test_loading_leaves_the_random_state_alone(bundle: Path) -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    load(bundle)
    assert torch.equal(torch.rand(1), expected)


def test_prediction_needs_neither_hydra_nor_lightning_nor_the_data(
    table_run: Run, image_run: Path, table_files: tuple[Path, Path], tmp_path: Path
) -> None:
    test = pd.read_csv(table_files[1])
    runs = {"table": table_run("method=lds_fds"), "forest": table_run("method=rebagg"), "image": image_run}
    for name, run in runs.items():
        shutil.copytree(run / "model", tmp_path / name)
    test.to_csv(tmp_path / "test.csv", index=False)
    code = """
import sys
blocked = ("hydra", "lightning", "pytorch_lightning", "omegaconf", "dir.recipe", "dir.compare")
class Block:
    def find_spec(self, name, path=None, target=None):
        if name in blocked or name.startswith(tuple(f"{b}." for b in blocked)):
            raise ImportError("blocked: " + name)
sys.meta_path.insert(0, Block())
import numpy as np, pandas as pd
from dir.bundle import load
test = pd.read_csv("test.csv")
for name in ("table", "forest"):
    np.save(name + ".npy", load(name).predict(test))
np.save("image.npy", load("image").predict(np.zeros((3, 12, 10), np.uint8)))
assert not [name for name in sys.modules if name.split(".")[0] in blocked]
"""
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    for name in ("table", "forest"):
        np.testing.assert_array_equal(np.load(tmp_path / f"{name}.npy"), load(runs[name]).predict(test))
