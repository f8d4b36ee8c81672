"""What the report reads from a run folder, of one short training, and the warnings made of it."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir

from dir.compare.html.cautions import warnings
from dir.compare.html.page import report_page
from dir.compare.html.run_state import by_epoch, fds_of, logged_values, repeated_test_rows, training_labels
from dir.compare.runs import find_runs
from dir.compare.statistics import compare
from dir.figures import feature_statistics
from dir.recipe.cli import config_dir, register_configs
from dir.recipe.run_folder import RunFolder
from dir.recipe.train import train


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run with FDS whose csv file has each row twice."""
    root = tmp_path_factory.mktemp("state")
    rng = np.random.default_rng(0)
    labels = rng.gamma(2.0, 4.0, 150).round()
    lines = [f"{label + rng.normal():.4f},{rng.normal():.4f},{label}" for label in labels]
    (root / "rows.csv").write_text("\n".join(["a,b,y", *lines, *lines]) + "\n")
    register_configs()
    overrides = ["+experiment=tabular", f"data.path={root / 'rows.csv'}", "data.target=y", "method=lds_fds"]
    quick = ["trainer.max_epochs=3", "trainer.accelerator=cpu", "figures=null", "data.split=random"]
    with initialize_config_dir(config_dir(), version_base="1.3"):
        cfg = compose("train", [*overrides, *quick, "task.fds.ratio_clip=[0.99,1.01]"])
    path = root / "outputs" / "rows-y" / "lds_fds" / "seed_0"
    with pytest.warns(UserWarning, match="FDS"):
        train(cfg, RunFolder(path), {"method": "lds_fds", "overrides": overrides})
    return path


def test_counts_are_those_of_the_training_rows(folder: Path) -> None:
    found = training_labels(folder)
    assert found is not None
    with np.load(folder / "predictions.npz") as saved:
        tested = np.concatenate([saved["label"], saved["val_label"]])
    labels = np.loadtxt(folder.parents[3] / "rows.csv", delimiter=",", skiprows=1)[:, 2]
    expected = np.histogram(labels, found.edges)[0] - np.histogram(tested, found.edges)[0]
    np.testing.assert_array_equal(found.counts, expected)
    # The published window of size 5 and sigma 2, with its largest entry 1.
    window = np.array([0.8578, 0.9460, 1.0, 0.9460, 0.8578])
    np.testing.assert_allclose(found.density, np.convolve(expected, window, mode="same"), rtol=1e-3)


def test_logged_values_end_with_those_of_metrics_json(folder: Path) -> None:
    logged = logged_values(folder)
    assert logged is not None
    run = json.loads((folder / "metrics.json").read_text())["run"]
    found = by_epoch(logged, ("train/loss", "fds/clipped", "fds/mean_drift", "none"))
    assert found["epoch"] == [1, 2, 3]
    assert len(found["train/loss"]) == 3
    assert "none" not in found
    for name in ("clipped", "mean_drift"):
        assert found[f"fds/{name}"][-1] == pytest.approx(run["fds"]["fds"][name], rel=1e-6)


def test_a_csv_log_is_read_alike(tmp_path: Path) -> None:
    (tmp_path / "csv").mkdir()
    (tmp_path / "csv/metrics.csv").write_text("epoch,lr,step,train/loss\n0,0.1,9,2.5\n0,,9,\n1,0.1,19,1.5\n")
    logged = logged_values(tmp_path)
    assert logged is not None
    assert by_epoch(logged, ["train/loss"]) == {"epoch": [1, 2], "train/loss": [2.5, 1.5]}
    (tmp_path / "csv/metrics.csv").write_text("epoch,step,a\n0,nine,2.5\n")
    with pytest.raises(ValueError, match=r"metrics\.csv: the file cannot be read"):
        logged_values(tmp_path)


def test_feature_statistics_come_from_the_checkpoint(folder: Path) -> None:
    found = fds_of(folder)
    assert found is not None
    state = torch.load(folder / "checkpoints/best.ckpt", weights_only=True)["state_dict"]
    seen = state["model.fds.num_samples"] > 0
    torch.testing.assert_close(found[0].mean[seen], state["model.fds.running_mean"][seen])
    moved = state["model.fds.scale"][:-1] * state["model.fds.running_mean"] + state["model.fds.shift"][:-1]
    torch.testing.assert_close(found[1].mean[seen], moved[seen])
    assert torch.isnan(found[0].mean[~seen]).all()


def test_repeated_rows_and_clipped_ratios_are_said(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "outputs/rows-y/lds_fds/seed_0"
    shutil.copytree(folder, copy)
    split = json.loads(gzip.decompress((copy / "split.json.gz").read_bytes()))
    # The split keeps copies of a row together.
    number = len(split["test"])
    assert repeated_test_rows(copy) == (0, number)
    runs, _ = find_runs(copy.parents[1])
    assert "Leakage" not in " ".join(warnings(runs, compare(runs)))
    split["test"][0], split["test"][1] = split["train"][0], split["train"][1].partition("-")[0] + "-7"
    (copy / "split.json.gz").write_bytes(gzip.compress(json.dumps(split).encode()))
    words = " ".join(warnings(runs, compare(runs)))
    assert f"Leakage: 2 of {number} test rows equal a training row" in words
    assert "FDS of lds_fds clips" in words
    assert "Fewer than 3 seeds: lds_fds" in words


def test_the_page_of_ten_methods_has_their_figures_unique_identities_and_less_than_a_megabyte(
    folder: Path, tmp_path: Path
) -> None:
    # Ten methods make the largest report of ten runs: no two share a row of a table or a line of a figure.
    rng = np.random.default_rng(0)
    for number in range(10):
        copy = tmp_path / f"outputs/rows-y/method_{number}/seed_0"
        shutil.copytree(folder, copy)
        with np.load(copy / "predictions.npz") as saved:
            arrays = dict(saved)
        arrays["prediction"] += rng.normal(size=arrays["prediction"].shape).astype(arrays["prediction"].dtype)
        np.savez(copy / "predictions.npz", **arrays)
        metrics = json.loads((copy / "metrics.json").read_text())
        metrics["run"]["method"] = f"method_{number}"
        (copy / "metrics.json").write_text(json.dumps(metrics))
    text = report_page([find_runs(tmp_path / "outputs")])
    figures = {"Error and density of": 1, "Training of the first": 1, "Feature statistics of": 1, "FDS of method": 1}
    for words, number in figures.items():
        assert text.count(f'aria-label="{words}') == number
    assert "Other methods with FDS are not drawn." in text
    found = re.findall(r'\sid="([^"]+)"', text)
    assert len(set(found)) == len(found)
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', text)) <= set(found)
    # Those of the next section start with s2.
    assert all(name.startswith(("s1-", "section-")) for name in found)
    assert "src=" not in text
    assert all(text.count(f"method_{number}") > 3 for number in range(10))
    assert len(text.encode()) < 1_000_000


def test_a_folder_without_files_gives_nothing_and_damaged_files_are_refused(tmp_path: Path) -> None:
    for read in (training_labels, repeated_test_rows, logged_values, fds_of):
        assert read(tmp_path) is None
    (tmp_path / "split.json.gz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"split\.json\.gz: the file cannot be read"):
        repeated_test_rows(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/best.ckpt").write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"best\.ckpt"):
        fds_of(tmp_path)


def test_statistics_of_one_feature_are_not_drawn() -> None:
    from dir import LabelBins

    found = feature_statistics(torch.randn(9, 1), torch.arange(9) % 3, LabelBins.integers(0, 2))
    assert found.mean.shape == (3, 1)
