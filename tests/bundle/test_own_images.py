"""Runs on pictures of one's own: every image model, bundles without a network, predict.py and evaluate.py."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from PIL import Image

from dir.bundle import BundleError, load
from dir.bundle.cli import predict_main
from dir.bundle.files import set_dialect
from dir.commands.monitoring import read_rows
from dir.recipe.cli import config_dir
from dir.recipe.evaluate import evaluate_checkpoint
from dir.recipe.run_folder import RunFolder
from dir.recipe.train import train

Run = Callable[..., Path]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty-two pictures in a folder, and a csv with semicolons, weights and splits."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    rows = []
    for number in range(32):
        pixels = random.integers(0, 256, (20, 24 + number % 3, 3), dtype=np.uint8) // (1 + number % 4)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"fish {number}.png")
        part = ("train", "train", "dev", "test")[number // 2 % 4]
        rows.append({"photo": f"fish {number}.png", "weight": 0.25 + number % 4, "part": part})
    pd.DataFrame(rows).to_csv(folder / "fish.csv", index=False, sep=";")
    return folder


@pytest.fixture(scope="module")
def fish_run(run_once: Run, folder: Path) -> Run:
    def run(*overrides: str) -> Path:
        given = [f"data.csv={folder / 'fish.csv'}", "data.target=weight", "data.split_column=part", "data.sep=';'"]
        small = ["data.image_size=32", "data.batch_size=8", "optimizer.lr=0.003"]
        return run_once("+experiment=images", *given, *small, *overrides)

    return run


def predictions_of(run: Path) -> np.ndarray:
    with np.load(run / "predictions.npz", allow_pickle=False) as arrays:
        predictions = arrays["prediction"]
    assert predictions.std() > 1e-4
    return predictions


def of_test(folder: Path) -> pd.DataFrame:
    table = pd.read_csv(folder / "fish.csv", sep=";")
    return table[table["part"] == "test"]


def forged(bundle: Path, target: Path, name: str) -> Path:
    """Return a copy of a bundle with another name of a timm model and a right hash."""
    shutil.copytree(bundle, target)
    path = target / "model.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["architecture"]["encoder"]["name"], content["sha256"] = name, "0" * 64
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    digest = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(text.replace("0" * 64, digest), encoding="utf-8")
    return target


@pytest.mark.parametrize("model", ["grid", "conv", "timm"])
def test_every_image_model_trains_and_its_bundle_predicts_files(model: str, fish_run: Run, folder: Path) -> None:
    more = ["model.name=test_resnet"] if model == "timm" else []
    if model == "timm":
        pytest.importorskip("timm", reason="needs the extra `timm`")
    run = fish_run(f"model={model}", *more)
    paths = [folder / name for name in of_test(folder)["photo"]]
    np.testing.assert_allclose(load(run).predict(paths), predictions_of(run), rtol=1e-5, atol=1e-5)


def test_predict_and_evaluate_read_the_csv_as_the_run_did(fish_run: Run, folder: Path, tmp_path: Path) -> None:
    run, output = fish_run("model=grid"), tmp_path / "out.csv"
    predict_main([f"model={run}", f"input={folder / 'fish.csv'}", f"output={output}"])
    written = pd.read_csv(output)
    test = (written["part"] == "test").to_numpy()
    np.testing.assert_allclose(written["prediction"][test], predictions_of(run), rtol=1e-5, atol=1e-6)
    expected = float(np.abs(predictions_of(run) - of_test(folder)["weight"]).mean())
    assert evaluate_checkpoint(run, [])["test"]["all"]["mae"] == pytest.approx(expected, rel=1e-5)
    of_test(folder).to_csv(folder / "only_test.csv", sep=";", index=False)
    found = evaluate_checkpoint(run, [f"data.test_path={folder / 'only_test.csv'}"])
    assert found["test"]["all"]["mae"] == pytest.approx(expected, rel=1e-5)


def test_a_csv_may_lie_elsewhere_than_its_pictures(
    fish_run: Run, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, elsewhere, output = fish_run("model=grid"), tmp_path / "elsewhere.csv", tmp_path / "out.csv"
    of_test(folder).to_csv(elsewhere, sep=";", index=False)
    predict_main([f"model={run}", f"input={elsewhere}", f"output={output}", f"data.path={folder}"])
    np.testing.assert_allclose(pd.read_csv(output)["prediction"], predictions_of(run), rtol=1e-5, atol=1e-6)
    model = load(run)
    set_dialect(model, {"data.sep": ";"})
    monitored = read_rows(model, elsewhere, None, folder)
    np.testing.assert_allclose(monitored.predictions, predictions_of(run), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(monitored.labels, of_test(folder)["weight"])
    for argument, problem in (("data.path=nowhere", "no such folder"), (f"data.path={folder}", "only a csv")):
        source = elsewhere if "nowhere" in argument else folder
        with pytest.raises(SystemExit, match=problem):
            predict_main([f"model={run}", f"input={source}", f"output={output}", argument])


def test_a_timm_bundle_starts_from_a_file_of_weights_and_fetches_nothing(
    fish_run: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timm = pytest.importorskip("timm", reason="needs the extra `timm`")
    from safetensors.torch import save_file

    weights = tmp_path / "weights.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), weights)
    run = fish_run("model=timm", "model.name=test_resnet", f"model.weights={weights}")
    weights.unlink()
    described = json.loads((run / "model" / "model.json").read_text())["architecture"]["encoder"]
    assert described["pretrained"] is False
    assert described["weights"] is None
    # Evaluation takes the weights of the checkpoint.
    expected = float(np.abs(predictions_of(run) - of_test(folder)["weight"]).mean())
    assert evaluate_checkpoint(run, [])["test"]["all"]["mae"] == pytest.approx(expected, rel=1e-5)

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("fetched")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", refuse)
    monkeypatch.setattr("timm.models._hub.load_model_config_from_hf", refuse)
    np.testing.assert_array_equal(load(run).predict([folder / "fish 6.png"]), predictions_of(run)[:1])
    for name in ("hf-hub:someone/model", "local-dir:/tmp", "os.system"):
        with pytest.raises(BundleError, match="not a model of timm"):
            load(forged(run / "model", tmp_path / name.replace("/", "_"), name))


def test_a_size_that_the_model_does_not_take_is_refused_before_anything_is_written(
    folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("timm", reason="needs the extra `timm`")
    given = [f"data.csv={folder / 'fish.csv'}", "data.target=weight", "data.split_column=part", "data.sep=';'"]
    with initialize_config_dir(config_dir(), version_base="1.3"):
        cfg = compose("train", ["+experiment=images", *given, "model=timm", "model.name=test_vit", "logger=none"])
    with pytest.raises(ValueError, match=r"data\.image_size: the model takes pictures of 160 x 160 pixels, got 96"):
        train(cfg, RunFolder(tmp_path / "run"), {})
    assert not (tmp_path / "run").exists()


def test_mixed_precision_trains(fish_run: Run) -> None:
    run = fish_run("model=conv", "trainer.precision=bf16-mixed")
    assert np.isfinite(predictions_of(run)).all()


def test_mlflow_predicts_pictures_as_the_bundle_does(
    fish_run: Run, folder: Path, pyfunc_of: Callable[[Path], Any]
) -> None:
    run = fish_run("model=grid")
    paths = [folder / f"fish {number}.png" for number in (0, 3, 6)]  # of one size
    pictures = np.stack([np.asarray(Image.open(path)) for path in paths])
    model = pyfunc_of(run)
    found = model.predict(pictures)
    np.testing.assert_array_equal(found, load(run).predict(pictures))
    np.testing.assert_allclose(found, load(run).predict(paths), rtol=1e-5)
    with pytest.raises(Exception, match="uint8"):
        model.predict(pictures.astype(np.float64))
