"""The report of new rows: drift of columns, errors with labels, statuses, and the form that a bundle keeps."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dir import LabelBins
from dir.bundle.description import bins_to_dict
from dir.bundle.fields import BundleError, Fields
from dir.monitor import NewRows, Reference, Settings, make_reference, monitor, read_reference
from dir.monitor.columns import summarise_table

# The bins hold labels from 0 to 10: the last two are few-shot, and the first is zero-shot.
BINS: dict[str, Any] = {
    **bins_to_dict(LabelBins.uniform(0, 10, 5)),
    "groups": {"many": [1, 2], "median": [], "few": [3, 4], "zero": [0]},
}


def table(rows: int, seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    label = random.uniform(2, 10, rows)
    kind = random.choice(["a", "b", "c"], rows).astype(object)
    return pd.DataFrame({"x": label + random.normal(size=rows), "kind": kind, "label": label})


def predict(frame: pd.DataFrame) -> np.ndarray:
    return np.array(0.7 * frame["x"] + 1.8)


@cache
def reference() -> Reference:
    whole, val = table(2000, 0), table(600, 1)
    columns = summarise_table(whole[["x", "kind"]], ["kind"])
    made = make_reference(columns, whole["label"].to_numpy(), val["label"].to_numpy(), predict(val), BINS)
    assert made is not None
    return made


def rows_of(frame: pd.DataFrame, labels: bool = False) -> NewRows:
    columns = {"x": frame["x"].to_numpy(), "kind": frame["kind"].to_numpy()}
    return NewRows(predict(frame), columns, {"kind": ["a", "b", "c"]}, frame["label"].to_numpy() if labels else None)


def test_rows_of_the_same_density_raise_no_alarm() -> None:
    found = monitor(reference(), BINS, rows_of(table(500, 2), labels=True))
    assert (found["status"], found["reasons"]) == (0, [])
    assert found["realised_error"]["all"]["low"] < 0 < found["realised_error"]["all"]["high"]
    assert found["predictions"]["groups"]["few"]["new"] == pytest.approx(
        found["predictions"]["groups"]["few"]["reference"], abs=0.08
    )
    json.dumps(found, allow_nan=False)


def test_a_reference_survives_json() -> None:
    made, new = reference(), rows_of(table(300, 3), labels=True)
    text = json.dumps(made.to_dict(), allow_nan=False)
    again = read_reference(Fields(json.loads(text), "model.json", "monitoring"))
    assert monitor(again, BINS, new) == monitor(made, BINS, new)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda kept: kept["columns"][0]["counts"].pop(), "columns"),
        (lambda kept: kept["columns"][0]["edges"].reverse(), "increasing"),
        (lambda kept: kept["errors"]["joint"].pop(), "joint"),
        (lambda kept: kept["errors"]["mean"].__setitem__(0, -1.0), "mean"),
        (lambda kept: kept["errors"]["joint"][0]["shares"].__setitem__(0, 3.0), "sum is 1"),
        (lambda kept: kept["groups"].pop("few"), "few"),
        (lambda kept: kept["predictions"].update(values=[]), "predictions"),
    ],
)
def test_a_damaged_reference_is_refused(change: Any, named: str) -> None:
    kept = json.loads(json.dumps(reference().to_dict()))
    change(kept)
    with pytest.raises(BundleError, match=named):
        read_reference(Fields(kept, "model.json", "monitoring"))


def test_a_moved_column_an_unknown_category_and_missing_values_are_named() -> None:
    frame = table(500, 4)
    frame["x"] += 1.5
    frame.loc[:59, "kind"] = "d"
    frame.loc[60:119, "kind"] = None
    found = monitor(reference(), BINS, rows_of(frame))
    assert found["status"] == 3
    x, kind = found["inputs"]
    assert x["drift"] == ["psi", "ks"]
    assert (kind["missing"], kind["unknown"], kind["reference_missing"]) == (0.12, 0.12, 0.0)
    assert "missing or unknown" in kind["drift"]
    assert found["reasons"][0] == "2 of 2 columns drift: x, kind"


def test_rows_that_cannot_be_predicted_are_a_drift_above_the_share_that_missing_allows() -> None:
    frame = table(400, 5)
    new = rows_of(frame)
    new.predictions[:20] = np.nan
    found = monitor(reference(), BINS, new)
    assert (found["status"], found["unpredicted"]) == (3, pytest.approx(0.05))
    assert found["reasons"] == ["5.0 % of the rows cannot be predicted, more than 2 %"]
    assert monitor(reference(), BINS, new, Settings(missing=0.06))["status"] == 0


def test_larger_errors_at_the_same_labels_are_told_from_other_labels() -> None:
    frame = table(500, 6)
    made = reference()
    worse = rows_of(frame, labels=True)._replace(predictions=predict(frame) + 1.5)
    found = monitor(made, BINS, worse)
    assert found["status"] == 4
    assert found["realised_error"]["all"]["worse"]
    error = np.abs(frame["label"] - worse.predictions)
    assert found["realised_error"]["all"]["mae"] == pytest.approx(error.mean())
    few = found["realised_error"]["few"]
    assert (few["rows"], few["mae"]) == (
        int((frame["label"] > 6).sum()),
        pytest.approx(error[frame["label"] > 6].mean()),
    )
    # Errors are largest at the ends of the range: rows from there have a larger error without a worse model.
    ends = frame[(frame["label"] < 3) | (frame["label"] > 9)]
    found = monitor(made, BINS, rows_of(ends, labels=True))
    own, usual = found["realised_error"]["all"], found["expected_error"]["reference"]
    assert own["mae"] > 1.1 * usual
    assert not own["worse"]
    assert found["labels"]["drift"]
    assert found["status"] == 3


def test_a_label_beyond_all_labels_of_the_run_is_zero_shot() -> None:
    frame = pd.concat([table(100, 7), pd.DataFrame({"x": [30.0], "kind": ["a"], "label": [25.0]})])
    found = monitor(reference(), BINS, rows_of(frame, labels=True))["realised_error"]
    assert found["zero"]["rows"] == 1
    assert (found["zero"]["worse"], found["zero"]["validation"]) == (None, None)
    many = pd.concat([frame] + [frame.tail(1)] * 20)
    report = monitor(reference(), BINS, rows_of(many, labels=True))
    # No validation row tells how large the error is there.
    assert (report["realised_error"]["zero"]["rows"], report["realised_error"]["zero"]["worse"]) == (21, None)
    found = monitor(reference(), BINS, rows_of(frame, labels=True), beyond="few")["realised_error"]
    assert "zero" not in found


def test_a_known_label_counts_and_a_missing_one_does_not() -> None:
    frame = table(200, 8)
    frame.loc[:149, "label"] = np.nan
    found = monitor(reference(), BINS, rows_of(frame, labels=True))
    assert found["realised_error"]["rows"] == 50
    frame["label"] = np.nan
    assert monitor(reference(), BINS, rows_of(frame, labels=True))["realised_error"] is None


def test_few_validation_rows_or_no_finite_prediction_give_no_reference() -> None:
    frame = table(19, 9)
    labels = frame["label"].to_numpy()
    assert make_reference(None, labels, labels, predict(frame), BINS) is None
    assert make_reference(None, np.ones(50), np.ones(50), np.full(50, np.nan), BINS) is None
    with pytest.raises(ValueError, match="expected a row that can be predicted"):
        monitor(reference(), BINS, NewRows(np.full(3, np.nan)))
    with pytest.raises(ValueError, match=r"alpha: expected a number in \(0, 1\), got 1"):
        monitor(reference(), BINS, rows_of(table(9, 0)), Settings(alpha=1.0))
