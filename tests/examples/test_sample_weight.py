"""Tests of examples/sample_weight.py: the printed table, and lower errors on rare labels."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

PATH = Path(__file__).resolve().parents[2] / "examples/sample_weight.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sample_weight_example", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def printed(capsys: pytest.CaptureFixture[str]) -> tuple[list[str], dict[str, list[float]]]:
    head, *rows = capsys.readouterr().out.splitlines()
    return head.split(), {row.split()[0]: [float(cell) for cell in row.split()[1:]] for row in rows}


def test_weights_lower_the_error_of_rare_labels(example: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    example.main(["--rows", "6000"])
    head, rows = printed(capsys)
    assert head == ["MAE,", "weights", "all", "many", "median", "few"]
    assert list(rows) == ["none", "LDS", "DenseWeight"]
    for name in ("LDS", "DenseWeight"):
        assert rows[name][3] < rows["none"][3]  # few
        assert rows[name][1] > rows["none"][1]  # many


def test_the_weights_reach_the_regressor(example: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    given = []

    class Recorder(example.HistGradientBoostingRegressor):  # type: ignore[misc,name-defined]
        def fit(self, X, y, sample_weight=None):  # noqa: N803
            given.append(sample_weight)
            return super().fit(X, y, sample_weight=sample_weight)

    monkeypatch.setattr(example, "HistGradientBoostingRegressor", Recorder)
    train, test = example.generate(1500, seed=1)
    example.errors(train, test)
    labels = train[1].numpy()
    assert given[0] is None
    for weight in given[1:]:
        assert weight.shape == labels.shape
        assert weight.mean() == pytest.approx(1, rel=1e-4)
        assert weight[labels > np.quantile(labels, 0.99)].min() > weight[labels < np.median(labels)].max()


def test_a_csv_file(example: ModuleType, capsys: pytest.CaptureFixture[str], shared: Path) -> None:
    example.main([str(shared / "data/tabular/abalone.csv"), "Rings"])
    rows = printed(capsys)[1]
    assert rows["DenseWeight"][3] < rows["none"][3]
    with pytest.raises(SystemExit):  # no target
        example.main(["table.csv"])
