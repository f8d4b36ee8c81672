"""Importance of rows: read from a column or an array, no input, in the order of each split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from dir.data.base import SPLITS, RegressionData
from dir.data.describe import format_description
from dir.data.npz_images import NpzImages
from dir.data.tabular import TabularData
from dir.resampling import RandomOverSampler

ROWS = 60


def frame() -> pd.DataFrame:
    """Return rows whose importance is a function of their label, so that a test knows it for each row."""
    rows = np.arange(ROWS)
    return pd.DataFrame({"a": rows % 7, "b": rows % 11, "w": (rows % 4) * 0.5, "y": rows.astype(float)})


def table(folder: Path, rows: pd.DataFrame | None = None, **settings: Any) -> TabularData:
    (frame() if rows is None else rows).to_csv(folder / "x.csv", index=False)
    return TabularData(str(folder / "x.csv"), "y", importance="w", split="random", share=0.2, **settings)


def images(folder: Path, weights: Any = None) -> NpzImages:
    rows = np.arange(ROWS)
    arrays = {"images": np.zeros((ROWS, 4, 4), np.uint8), "y": rows.astype(float), "split": rows % 3}
    np.savez(folder / "x.npz", w=(rows % 4) * 0.5 if weights is None else weights, **arrays)
    return NpzImages(str(folder / "x.npz"), "y", importance="w")


def expected(data: RegressionData, split: Any) -> torch.Tensor:
    return (data.labels(split) % 4) * 0.5


@pytest.mark.parametrize("make", [table, images])
def test_each_row_keeps_its_importance_through_splits_and_batches(make: Any, tmp_path: Path) -> None:
    data = make(tmp_path)
    data.setup()
    for split in SPLITS:
        assert torch.equal(data.importance(split), expected(data, split))
    for _, labels, importance in data.train_dataloader():
        assert torch.equal(importance, (labels % 4) * 0.5)
    # Only training batches have a third part.
    assert all(len(batch) == 2 for batch in data.val_dataloader())
    data.restrict("train", torch.arange(0, len(data.labels("train")), 3))
    assert torch.equal(data.importance("train"), expected(data, "train"))
    assert "importance of train rows" in format_description(data.describe())


@pytest.mark.parametrize("ranks", [2, 3])
def test_the_ranks_share_the_rows_with_their_importance(
    ranks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, seen = table(tmp_path, batch_size=5), []
    data.setup()
    for rank in range(ranks):
        monkeypatch.setattr(data, "_rank_and_world_size", lambda rank=rank: (rank, ranks))
        for _, labels, importance in data.train_dataloader():
            assert torch.equal(importance, (labels % 4) * 0.5)
            seen += labels.tolist()
    assert set(seen) == set(data.labels("train").tolist())


def test_the_column_is_no_input_and_not_in_the_bundle(tmp_path: Path) -> None:
    data = table(tmp_path)
    assert data.encoder_args() == {"in_features": 2}
    assert data.encoding()["columns"] == ["a", "b"]
    assert list(data.table("train")[0].columns) == ["a", "b"]
    assert data.describe()["columns"]["w"]["kind"] == "importance"
    assert data.settings()["importance"] == "w"
    # A run without importance has the settings, and so the fingerprint, of earlier versions.
    assert "importance" not in TabularData(str(tmp_path / "x.csv"), "y").settings()


def test_copies_of_a_row_with_two_importances_stay_in_one_split(tmp_path: Path) -> None:
    rows = frame()
    copies = rows.assign(w=9.0)
    data = table(tmp_path, pd.concat([rows, copies]))
    data.setup()
    found = [set(data.labels(split).tolist()) for split in SPLITS]
    assert sum(map(len, found)) == len(set().union(*found))


def test_a_restored_split_and_a_test_file_keep_the_importance(tmp_path: Path) -> None:
    data = table(tmp_path)
    saved = data.split_ids()
    shuffled = table(tmp_path, frame().sample(frac=1, random_state=1))
    shuffled.restore_split(saved)
    for split in SPLITS:
        assert torch.equal(shuffled.importance(split), data.importance(split))
    frame().iloc[:9].to_csv(tmp_path / "test.csv", index=False)
    both = table(tmp_path, test_path=str(tmp_path / "test.csv"))
    both.setup()
    assert torch.equal(both.importance("test"), expected(both, "test"))
    both.replace_test(str(tmp_path / "x.csv"))
    assert torch.equal(both.importance("test"), expected(both, "test"))
    frame().drop(columns="w").to_csv(tmp_path / "test.csv", index=False)
    with pytest.raises(ValueError, match=r"test\.csv: no column 'w'"):
        both.replace_test(str(tmp_path / "test.csv"))


@pytest.mark.parametrize(
    ("row", "value", "message"),
    [
        (3, -1.0, r"column 'w': an importance is a finite number >= 0, 1 values are not, .*-1\.0; rows 4"),
        (5, np.inf, r"column 'w'.*inf; rows 6"),
        (5, np.nan, r"column 'w'.*nan; rows 6"),
        (7, "high", r"column 'w'.*high; rows 8"),
    ],
)
def test_a_wrong_importance_is_named_with_its_row(row: int, value: Any, message: str, tmp_path: Path) -> None:
    rows = frame().astype({"w": object})
    rows.loc[row, "w"] = value
    with pytest.raises(ValueError, match=message):
        table(tmp_path, rows).setup()


def test_settings_that_contradict_the_importance_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no column 'w' \(data\.importance"):
        table(tmp_path, frame().drop(columns="w")).setup()
    with pytest.raises(ValueError, match=r"^data\.importance: expected a column that is not in data\.drop, got 'w'"):
        table(tmp_path, drop=["w"])
    for key, settings in (("group", {"group": "w"}), ("target", {})):
        with pytest.raises(ValueError, match=rf"^data\.importance: expected another column than data\.{key}"):
            TabularData(str(tmp_path / "x.csv"), "y" if settings else "w", importance="w", **settings)
    with pytest.raises(ValueError, match="importance of all 36 training rows is 0"):
        table(tmp_path, frame().assign(w=0.0)).setup()
    data = table(tmp_path)
    data.setup()
    with pytest.raises(ValueError, match=r"^method\.resample: resampling would lose the importance"):
        data.resample(RandomOverSampler())
    for weights in (np.full(ROWS, -1.0), np.zeros((ROWS, 2)), np.array(["a"] * ROWS), np.ones(3)):
        with pytest.raises(ValueError, match=r"x\.npz"):
            images(tmp_path, weights).setup()
