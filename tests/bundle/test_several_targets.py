"""Bundles of runs with several targets: one column of predictions for each target, in its own unit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from dir.bundle import BundleError, load
from dir.bundle.cli import export_main, predict_main
from dir.bundle.description import Description, read
from dir.bundle.saving import save
from dir.commands.monitoring import find_reference
from dir.recipe.evaluate import evaluate_checkpoint
from dir.recipe.module import RegressionModule
from dir.recipe.several_targets import check_several_targets
from tests.bundle.conftest import houses

Run = Callable[..., Path]
TARGETS = ("price", "area")
METHOD = {"head": None, "fds": None, "loss": None}


def rows(count: int, seed: int) -> pd.DataFrame:
    frame = houses(count, seed)
    return frame.assign(area=(3 + frame["u"] / 10 + frame["v"] / 2e7).round(4))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A csv with rows to train on and one with test rows."""
    folder = tmp_path_factory.mktemp("two")
    rows(300, 0).to_csv(folder / "train.csv", index=False)
    rows(40, 1).to_csv(folder / "test.csv", index=False)
    return folder / "train.csv", folder / "test.csv"


@pytest.fixture(scope="module")
def run(run_once: Run, files: tuple[Path, Path]) -> Path:
    """A run of lds_fds on price, hundreds, and area, near 3."""
    given = [f"data.path={files[0]}", f"data.test_path={files[1]}", f"data.target=[{','.join(TARGETS)}]"]
    options = ["data.drop=[id]", "data.categorical=[kind,floor]", "method=lds_fds", "task.shots.by=quantile"]
    return run_once("+experiment=tabular", *given, *options)


def test_a_bundle_predicts_what_the_run_predicted_for_each_target(run: Path, files: tuple[Path, Path]) -> None:
    model, test = load(run), pd.read_csv(files[1])
    assert model.targets == TARGETS
    with np.load(run / "predictions.npz", allow_pickle=False) as saved:
        expected = saved["prediction"]
    found = model.predict(test)
    np.testing.assert_array_equal(found, expected)
    assert found.shape == (40, 2)
    # Columns are in the units of their targets: the test labels of the area lie in 2.6 to 3.4, as its predictions do.
    assert 2 < found[:, 1].min() < found[:, 1].max() < 4 < found[:, 0].max()
    broken = test.assign(u=[np.nan, *test["u"][1:]])
    with_gap = model.predict(broken, on_error="nan")
    assert np.isnan(with_gap[0]).all()
    np.testing.assert_allclose(with_gap[1:], expected[1:], rtol=1e-5)


def test_the_command_writes_a_column_for_each_target(
    run: Path, files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predict_main([f"model={run}", f"input={files[1]}", f"output={tmp_path / 'out.csv'}"])
    table = pd.read_csv(tmp_path / "out.csv")
    assert list(table) == ["input_row", "id", *TARGETS, "prediction_price", "prediction_area"]
    expected = load(run).predict(pd.read_csv(files[1]))
    np.testing.assert_allclose(table[["prediction_price", "prediction_area"]].to_numpy(), expected, rtol=1e-6)
    assert "40 predictions in price, area, written to" in capsys.readouterr().out


def test_another_table_is_evaluated_for_each_target(run: Path, tmp_path: Path) -> None:
    other = rows(60, 2)
    other.to_csv(tmp_path / "other.csv", index=False)
    found = evaluate_checkpoint(run, [f"data.test_path={tmp_path / 'other.csv'}"])["test"]
    errors = (other[list(TARGETS)] - load(run).predict(other)).abs().mean()
    for name in TARGETS:
        assert found[f"{name}/all"]["mae"] == pytest.approx(errors[name], rel=1e-5)


def test_an_export_predicts_every_target(run: Path, files: tuple[Path, Path], tmp_path: Path) -> None:
    path, test = tmp_path / "model.pt2", pd.read_csv(files[1])
    # The export compares its predictions with those of the model by itself, ONNX as well.
    export_main([f"model={run}", "format=torch_export", f"output={path}"])
    encoding = json.loads((run / "model/model.json").read_text())["input"]["encoder"]
    numbers = test[[one["name"] for one in encoding["numbers"]]].to_numpy(np.float64)
    places = [test[one["name"]].astype(str).map(one["values"].index) for one in encoding["categories"]]
    with torch.no_grad():
        graph = torch.export.load(str(path)).module()
        found = graph(torch.from_numpy(numbers), torch.from_numpy(np.stack(places, axis=1)))
    np.testing.assert_allclose(found.numpy(), load(run).predict(test), rtol=1e-5)


def rows_of(run: Path) -> dict[str, int]:
    found: dict[str, int] = json.loads((run / "metrics.json").read_text())["run"]["data"]["rows"]
    return found


def test_model_json_holds_unit_bins_and_counts_of_each_target(run: Path, files: tuple[Path, Path]) -> None:
    content = json.loads((run / "model/model.json").read_text())
    assert content["version"] == 3
    assert content["target"]["name"] == "price+area"
    train = pd.read_csv(files[0])
    for name, one in zip(TARGETS, content["target"]["targets"], strict=True):
        edges = np.array(one["label_bins"]["edges"])
        assert one["name"] == name
        assert edges[0] >= train[name].min() - 1e-3
        assert one["head_bins"]["edges"] == pytest.approx((edges - one["offset"]) / one["scale"], abs=1e-4)
        assert sum(one["counts"]) == rows_of(run)["train"]


def describe(run: Path, **changes: Any) -> Description:
    about = read(run / "model")[0]
    return Description(**{**about.__dict__, **changes})


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda listed: listed[:1], "2 to 4096 targets with different names"),
        (lambda listed: [listed[0], listed[0]], "2 to 4096 targets with different names"),
        (lambda listed: [{**listed[0], "scale": -1.0}, listed[1]], r"targets\[0\]\.scale: expected a number > 0"),
        (lambda listed: [*listed, {**listed[0], "name": "third"}], r"the weights do not fit .*heads\.2"),
    ],
)
def test_a_bundle_with_other_targets_is_refused(
    run: Path, tmp_path: Path, change: Callable[[list[Any]], Any], match: str
) -> None:
    about = read(run / "model")[0]
    target = {**about.target, "targets": change(about.target["targets"])}
    model = load(run).module
    assert model is not None
    save(tmp_path / "other", model.regressor, describe(run, target=target))
    with pytest.raises(BundleError, match=match):
        load(tmp_path / "other")


def test_a_correction_of_several_targets_is_refused(run: Path, tmp_path: Path) -> None:
    model = load(run).module
    assert model is not None
    about = describe(run, correction={"kind": "affine", "x": [0.0, 1.0], "y": [0.0, 1.0]})
    save(tmp_path / "other", model.regressor, about)
    with pytest.raises(BundleError, match="corrections and maps have one target"):
        load(tmp_path / "other")


def test_parts_that_know_one_target_say_so(run: Path) -> None:
    with pytest.raises(ValueError, match=r"dir-monitor reads models of one target, got .*price"):
        find_reference(load(run), run)
    with pytest.raises(ValueError, match="a module of several targets is not restored"):
        RegressionModule.load_from_checkpoint(next((run / "checkpoints").glob("*.ckpt")))
    with pytest.raises(TypeError, match="the model predicts no variance"):
        load(run).predict_variance(pd.DataFrame())


def test_mlflow_predicts_every_target(run: Path, files: tuple[Path, Path], pyfunc_of: Callable[[Path], Any]) -> None:
    test = pd.read_csv(files[1])
    model = pyfunc_of(run)
    found = model.predict(test[model.metadata.get_input_schema().input_names()])
    np.testing.assert_array_equal(found, load(run).predict(test))
    assert model.metadata.get_output_schema().inputs[0].shape == (-1, 2)


def test_sentences_with_three_scores_are_predicted_from_a_file(
    run_once: Run, sentence_encoder: Path, tmp_path: Path
) -> None:
    draw, words = np.random.default_rng(0), np.array(["a", "cat", "two", "dogs", "tall", "word", "five"])
    lines = [" ".join(draw.choice(words, draw.integers(1, 8))) for _ in range(120)]
    longest = np.array([len(line.split()) for line in lines])
    scores = {
        "V": 1 + longest / 2,
        "A": 0.1 * longest + draw.uniform(0, 0.1, 120),
        "D": 10.0 + draw.integers(0, 9, 120),
    }
    frame = pd.DataFrame({"sentence": lines, **scores, "part": ["train", "train", "dev", "test"] * 30}).round(3)
    frame.to_csv(tmp_path / "scores.tsv", sep="\t", index=False)
    given = [f"data.path={tmp_path / 'scores.tsv'}", "data.text=[sentence]", "data.target=[V,A,D]"]
    options = ["data.split_column=part", f"data.encoder={sentence_encoder}", "data.cache_dir=null"]
    run = run_once(
        "+experiment=text", *given, *options, "data.max_length=32", "optimizer.lr=0.01", "data.batch_size=8"
    )
    model = load(run, text_encoder=sentence_encoder)
    with np.load(run / "predictions.npz", allow_pickle=False) as saved:
        expected = saved["prediction"]
    test = frame[frame["part"] == "test"]
    np.testing.assert_allclose(model.predict(test), expected, rtol=1e-5, atol=1e-6)
    test.drop(columns=["V", "A", "D"]).to_csv(tmp_path / "new.tsv", sep="\t", index=False)
    files = [f"input={tmp_path / 'new.tsv'}", f"output={tmp_path / 'out.csv'}"]
    predict_main([f"model={run}", *files, f"text_encoder={sentence_encoder}"])
    written = pd.read_csv(tmp_path / "out.csv")
    names = ["prediction_V", "prediction_A", "prediction_D"]
    np.testing.assert_allclose(written[names].to_numpy(), expected, rtol=1e-5)
    # The file of the run is not read before the refusal.
    (tmp_path / "scores.tsv").unlink()
    with pytest.raises(ValueError, match=r"^data\.test_path: of several targets, only .* V, A, D.*dir-predict "):
        evaluate_checkpoint(run, [f"data.test_path={tmp_path / 'new.tsv'}"])


def test_places_in_pictures_are_predicted_from_files(run_once: Run, tmp_path: Path) -> None:
    draw, places = np.random.default_rng(0), []
    for number in range(48):
        pixels, (x, y) = draw.integers(0, 60, (16, 16), dtype=np.uint8), draw.integers(2, 14, 2)
        pixels[y - 2 : y + 2, x - 2 : x + 2] = 255
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        places.append((f"{number}.png", int(x), 10.5 * int(y), ("train", "train", "dev", "test")[number % 4]))
    frame = pd.DataFrame(places, columns=["file", "x", "y", "part"])
    frame.to_csv(tmp_path / "labels.csv", index=False)
    given = [f"data.csv={tmp_path / 'labels.csv'}", "data.target=[x,y]", "data.split_column=part"]
    run = run_once("+experiment=images", *given, "data.image_size=16", "data.batch_size=8", "method=bmc")
    with np.load(run / "predictions.npz", allow_pickle=False) as saved:
        expected = saved["prediction"]
    files = [tmp_path / name for name in frame.loc[frame["part"] == "test", "file"]]
    np.testing.assert_array_equal(load(run).predict(files), expected)
    assert 3 * expected[:, 0].mean() < expected[:, 1].mean()


def test_a_recipe_of_one_target_refuses_a_list(tmp_path: Path) -> None:
    cfg = OmegaConf.create({"data": {"_target_": "dir.data.CsvImages", "label": ["a", "b"]}, "method": METHOD})
    with pytest.raises(ValueError, match=r"^data: dir\.data\.CsvImages has no form for several targets"):
        check_several_targets(cfg)
