"""FDS that hurts says so: numbers for every epoch in TensorBoard, and a warning, once."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dir.recipe.run_folder import RunFolder
from dir.recipe.train import train

Config = Callable[..., DictConfig]
NAMES = {
    "bins_seen",
    "bins_empty",
    "bins_trusted",
    "bins_nonfinite",
    "labels_excluded",
    "mean_gap",
    "var_gap",
    "clipped",
}


def test_events_hold_the_diagnostics_of_each_epoch(tiny: Config, tmp_path: Path) -> None:
    cfg = tiny("method=fds", "trainer.max_epochs=3", "task.bins.low=2", "+task.bins.out_of_range=exclude")
    train(cfg, RunFolder(tmp_path), {})
    events = [EventAccumulator(str(path)).Reload() for path in (tmp_path / "tensorboard").glob("events*")]
    logged: dict[str, list[float]] = {}
    for reader in events:
        for tag in reader.Tags()["scalars"]:
            logged.setdefault(tag, []).extend(event.value for event in reader.Scalars(tag))
    assert {f"fds/{name}" for name in NAMES} <= set(logged)
    assert all(len(logged[f"fds/{name}"]) == 3 for name in NAMES)
    # More than half of the labels, 10 u^3 with u uniform, lie under 2; every bin is either seen or empty.
    assert all(100 < value < 200 for value in logged["fds/labels_excluded"])
    assert all(
        seen + empty == 20 for seen, empty in zip(logged["fds/bins_seen"], logged["fds/bins_empty"], strict=True)
    )
    assert all(0 <= value <= 1 for value in logged["fds/clipped"])
    assert all(value > 0 for value in logged["fds/mean_gap"])


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["task.bins.high=100", "task.bins.num_bins=200"], "most bins are empty: use fewer or wider bins"),
        (["task.fds.ratio_clip=[0.999,1.001]"], "most variance ratios are at ratio_clip"),
    ],
)
def test_doubtful_calibration_draws_one_warning_in_a_run(
    tiny: Config, tmp_path: Path, overrides: list[str], words: str
) -> None:
    cfg = tiny("method=fds", "trainer.max_epochs=3", "logger=none", *overrides)
    with pytest.warns(UserWarning, match=words) as caught:
        train(cfg, RunFolder(tmp_path), {})
    assert len([w for w in caught if str(w.message).startswith("FDS")]) == 1


def test_sound_calibration_draws_no_warning(tiny: Config, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="FDS")
        cfg = tiny("method=fds", "trainer.max_epochs=2", "logger=none", "data.sizes=[2000,60,60]")
        train(cfg, RunFolder(tmp_path), {})
