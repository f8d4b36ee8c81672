"""The figures in the TensorBoard log of a run."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from omegaconf import DictConfig
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dir.metrics.functional import interval_coverage
from dir.recipe.predictions import Predictions
from dir.recipe.run_figures import coarse, coverages, shot_names
from dir.recipe.run_folder import RunFolder
from dir.recipe.tracking.choose import run_log
from dir.recipe.train import train

Config = Callable[..., DictConfig]
AT_THE_END = {"label density", "test/error and density", "test/residuals"}


def images(folder: Path) -> dict[str, list[tuple[int, bytes]]]:
    """Return step and PNG of the images in the log of a run, by their names."""
    found: dict[str, list[tuple[int, bytes]]] = {}
    for events in (folder / "tensorboard").glob("events*"):
        reader = EventAccumulator(str(events), size_guidance={"images": 0}).Reload()
        for tag in reader.Tags()["images"]:
            found.setdefault(tag, []).extend((one.step, one.encoded_image_string) for one in reader.Images(tag))
    return found


def test_a_run_draws_at_its_start_every_n_epochs_and_at_its_end(tiny: Config, tmp_path: Path) -> None:
    train(tiny("method=lds_fds", "trainer.max_epochs=3", "figures=2"), RunFolder(tmp_path), {})
    found = images(tmp_path)
    often = {"validation/error and density", "fds/bins", "fds/feature similarity"}
    last = {"fds/epochs", "fds/bins, best epoch", "fds/feature similarity, best epoch"}
    assert set(found) == AT_THE_END | {"weights"} | often | last
    # 200 rows in batches of 32 are 7 steps an epoch.
    assert all([step for step, _ in found[name]] == [14] for name in often)
    assert [step for step, _ in found["label density"]] == [0]
    assert all(step == 21 for name in last for step, _ in found[name])
    pixels = np.asarray(Image.open(io.BytesIO(found["fds/feature similarity"][-1][1])).convert("L"))
    assert pixels.std() > 20


def test_the_csv_log_takes_no_figures_and_that_of_tensorboard_does(tmp_path: Path) -> None:
    logs = [run_log(kind(str(tmp_path))) for kind in (CSVLogger, TensorBoardLogger)]
    assert [log is not None and log.takes_figures for log in logs] == [False, True]
    assert run_log(None) is None


def test_figures_null_draws_nothing(tiny: Config, tmp_path: Path) -> None:
    train(tiny("trainer.max_epochs=1", "figures=null", "logger=tensorboard"), RunFolder(tmp_path), {})
    assert images(tmp_path) == {}


def test_a_run_with_a_label_prior_draws_its_curve_and_its_intervals(tiny: Config, tmp_path: Path) -> None:
    train(tiny("method=histogram_prior", "trainer.max_epochs=1", "figures=end"), RunFolder(tmp_path), {})
    more = {"validation curve of the label prior", "test/reliability of intervals"}
    assert set(images(tmp_path)) == AT_THE_END | more


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["figures=0"], "figures: expected an integer >= 1, got 0"),
        (["figures=often"], "figures: expected an integer >= 1, got 'often'"),
        (["figures=2", "logger=csv"], "figures: the logger takes no figures, got 2"),
        (["figures=2", "logger=none"], "figures: the logger takes no figures, got 2"),
    ],
)
def test_settings_that_draw_nothing_are_refused(
    tiny: Config, tmp_path: Path, overrides: list[str], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        train(tiny(*overrides), RunFolder(tmp_path / "run"), {})
    assert not (tmp_path / "run").exists()


def test_coverage_of_a_group_is_that_of_its_metric() -> None:
    from dir import LabelBins
    from dir.metrics import ShotMetrics

    bins = LabelBins.integers(0, 3)
    metrics = ShotMetrics(bins, torch.tensor([500, 50, 5, 0]))
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(3).repeat(100).double()
    predictions = labels + torch.randn(300, generator=generator)
    variances = torch.rand(300, generator=generator) + 0.2
    found = coverages(metrics, Predictions(labels, predictions, variances))
    few = labels == 2
    # Level 0.9 is the last but one of the levels.
    assert found["few"][17] == pytest.approx(interval_coverage(predictions[few], variances[few], labels[few], 0.9))
    assert np.isnan(found["zero"]).all()
    assert coverages(metrics, Predictions(labels, predictions, None)) == {}
    assert coverages(metrics, Predictions(labels, predictions, variances * 0)) == {}
    assert shot_names(metrics, bins.centers) == ["many", "median", "few", "zero"]


def test_coarse_edges_keep_both_ends() -> None:
    assert coarse(np.arange(101.0)).tolist() == [*np.arange(0.0, 100.0, 3.0), 100.0]
    assert coarse(np.arange(5.0)).tolist() == [0, 1, 2, 3, 4]
