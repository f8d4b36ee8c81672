"""Data that cannot be trained on is refused before anything is written; unusual data is trained on."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import DictConfig
from torch import Tensor

from dir.bins import LabelBins
from dir.data.base import ArrayDataset
from dir.data.npz_images import NpzImages
from dir.data.stsb import read_stsb
from dir.data.tabular import TabularData
from dir.denseweight import DenseWeight
from dir.lds import LDS
from dir.recipe.module import RegressionModule
from dir.recipe.run_folder import RunFolder
from dir.recipe.train import train

Config = Callable[..., DictConfig]
Change = Callable[[dict[str, ArrayDataset]], None]
ONE = ("trainer.max_epochs=1", "logger=none")


@pytest.fixture
def run(tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Train on the tiny data after `change(splits)`."""

    def run_changed(change: Change, *overrides: str, name: str = "run") -> dict[str, Any]:
        import tiny_parts

        build = tiny_parts.TinyData.build

        def changed(self: Any) -> dict[str, ArrayDataset]:
            splits = build(self)
            change(splits)
            return splits

        with monkeypatch.context() as patch:
            patch.setattr(tiny_parts.TinyData, "build", changed)
            train(tiny(*ONE, *overrides), RunFolder(tmp_path / name), {})
        content: dict[str, Any] = json.loads((tmp_path / name / "metrics.json").read_text())
        return content

    return run_changed


def label(split: str, row: int, value: float) -> Change:
    def change(splits: dict[str, ArrayDataset]) -> None:
        splits[split].labels[row] = value

    return change


def first_rows(split: str, count: int) -> Change:
    def change(splits: dict[str, ArrayDataset]) -> None:
        data = splits[split]
        splits[split] = ArrayDataset(data.inputs[:count], data.labels[:count], data.transform)  # type: ignore[index]

    return change


def all_equal(splits: dict[str, ArrayDataset]) -> None:
    splits["train"].labels.fill_(4.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (label("train", 17, math.nan), r"train labels.*got nan in row 17"),
        (label("val", 3, math.inf), r"val labels.*got inf in row 3"),
        (label("test", 59, -math.inf), r"test labels.*got -inf in row 59"),
        (first_rows("train", 0), "train: expected at least one sample, the split is empty"),
        (first_rows("val", 0), "val: expected at least one sample, the split is empty"),
        (first_rows("test", 0), "test: expected at least one sample, the split is empty"),
        (first_rows("train", 1), "train labels: expected at least two distinct values, all 1 are"),
        (all_equal, r"train labels: expected at least two distinct values, all 200 are 4\.0"),
    ],
)
def test_unusable_labels_are_named_and_nothing_is_written(
    run: Callable[..., Any], tmp_path: Path, change: Change, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        run(change, "method=lds_fds")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_infinite_features_end_the_run_with_epoch_step_labels_and_weights(
    run: Callable[..., Any], tmp_path: Path, value: float
) -> None:
    def change(splits: dict[str, ArrayDataset]) -> None:
        splits["train"].inputs[5] = value  # type: ignore[index]

    pattern = r"not finite in epoch 1, step [1-7]\. .*labels of that batch are \S+ to \S+, its weights \S+ to \S+\."
    with pytest.raises(RuntimeError, match=pattern):
        run(change, "method=lds")
    assert not (tmp_path / "run/metrics.json").exists()


def test_error_of_an_exploded_batch_shows_the_ranges_of_its_labels_and_weights(
    tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Tensor, Tensor]] = []
    step = RegressionModule.training_step

    def explodes(self: RegressionModule, batch: tuple[Any, Tensor], batch_idx: int) -> Tensor:
        loss = step(self, batch, batch_idx)
        if self.current_epoch == 1 and batch_idx == 4:
            assert self.lds is not None
            seen.append((batch[1], self.lds(batch[1])))
            return loss * math.inf
        return loss

    monkeypatch.setattr(RegressionModule, "training_step", explodes)
    with pytest.raises(RuntimeError) as error:
        train(tiny("method=lds", "trainer.max_epochs=3", "logger=none"), RunFolder(tmp_path), {})
    labels, weights = seen[0]
    expected = (
        f"in epoch 2, step 5. The labels of that batch are {labels.min():g} to {labels.max():g}, "
        f"its weights {weights.min():g} to {weights.max():g}."
    )
    assert expected in str(error.value)
    # The epoch before is saved; the weights after the infinite loss are not.
    saved = torch.load(tmp_path / "checkpoints/last.ckpt", weights_only=True)
    assert saved["epoch"] == 0
    assert all(torch.isfinite(v).all() for k, v in saved["state_dict"].items() if k.startswith("model.encoder"))


def test_labels_outside_the_bins_are_trained_on_and_evaluated(run: Callable[..., Any]) -> None:
    narrow = ("method=lds_fds", "task.bins.low=2", "task.bins.high=5")
    for policy in ("clamp", "exclude"):
        content = run(lambda splits: None, *narrow, f"+task.bins.out_of_range={policy}", name=policy)
        assert content["test"]["all"]["n"] == 60
        assert math.isfinite(content["test"]["all"]["mae"])
    far = run(label("test", 0, 400.0), "method=lds_fds", name="far")
    assert far["test"]["zero"]["n"] == 1


@pytest.mark.filterwarnings("ignore:FDS. most bins are empty")
def test_batches_of_one_and_splits_of_one(run: Callable[..., Any]) -> None:
    content = run(first_rows("train", 9), "method=lds_fds", "data.batch_size=1", name="one")
    assert math.isfinite(content["test"]["all"]["mae"])
    # A last batch of one sample and a validation split of one sample: no correlation, and no failure.
    content = run(first_rows("val", 1), "method=lds_fds", "data.batch_size=199", name="last")
    assert content["val"]["all"]["n"] == 1
    assert content["val"]["all"]["pearson"] is None
    assert math.isfinite(content["val"]["all"]["mae"])


@pytest.mark.parametrize("fit", [LDS(LabelBins.integers(0, 9)).fit, DenseWeight(LabelBins.integers(0, 9)).fit])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_fit_names_the_rows_of_labels_that_are_not_finite(fit: Callable[[Tensor], Any], value: float) -> None:
    labels = torch.arange(10.0)
    labels[[3, 7]] = value
    with pytest.raises(ValueError, match=r"got (nan|inf) in row 3 \(2 bad values; rows 3, 7\)"):
        fit(labels)


@pytest.mark.parametrize("bad", ["nan", "inf", "-inf", "1e999", "1e39"])
def test_readers_name_the_rows_of_labels_that_are_not_finite(tmp_path: Path, bad: str) -> None:
    tsv = tmp_path / "train_new.tsv"
    tsv.write_text(f"sentence1\tsentence2\tscore\na\tb\t1\na\tb\t{bad}\n")
    with pytest.raises(ValueError, match=r"train_new\.tsv: expected a score in 0\.\.5; 1 rows differ, lines 3"):
        read_stsb(tsv)
    csv = tmp_path / "table.csv"
    csv.write_text("x,y\n" + "".join(f"{n},{n if n != 4 else bad}\n" for n in range(20)))
    with pytest.raises(ValueError, match=r"(?s)table\.csv.*(column 'y'.*rows 5|'y': rows 5)"):
        TabularData(str(csv), target="y").setup()
    npz = tmp_path / "images.npz"
    labels = np.arange(6, dtype=np.float64)
    labels[2] = float(bad)
    np.savez(npz, images=np.zeros((6, 4, 4), np.uint8), y=labels, split=np.arange(6) % 3)
    with pytest.raises(ValueError, match=r"images\.npz: labels .y..*got \S+ in row 2"):
        NpzImages(str(npz), label="y").setup()


@pytest.mark.parametrize("bad", ["inf", "-inf", "1e39", "three"])
def test_tables_name_the_rows_of_features_that_are_no_finite_numbers(tmp_path: Path, bad: str) -> None:
    csv = tmp_path / "table.csv"
    csv.write_text("x,y\n" + "".join(f"{n if n != 4 else bad},{n}\n" for n in range(20)))
    with pytest.raises(ValueError, match=r"table\.csv.*'x'.*(rows 5|three)"):
        TabularData(str(csv), target="y").setup()


@pytest.mark.parametrize(
    ("dtype", "message"),
    [(bool, "bool"), ("U3", "<U3"), ("datetime64[s]", "datetime64"), (np.complex64, "complex64")],
)
def test_labels_of_another_type_are_refused(tmp_path: Path, dtype: Any, message: str) -> None:
    npz = tmp_path / "images.npz"
    np.savez(npz, images=np.zeros((6, 4, 4), np.uint8), y=np.arange(6).astype(dtype), split=np.arange(6) % 3)
    with pytest.raises(ValueError, match=rf"images\.npz.*array 'y'.*got {message}"):
        NpzImages(str(npz), label="y").setup()


def test_table_without_the_target_names_its_columns(tmp_path: Path) -> None:
    csv = tmp_path / "table.csv"
    pd.DataFrame({"x": [1, 2], "z": [3, 4]}).to_csv(csv, index=False)
    with pytest.raises(ValueError, match=r"table\.csv.*'y'.*data\.target.*'x', 'z'"):
        TabularData(str(csv), target="y").setup()
