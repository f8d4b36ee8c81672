"""The benchmark of ensembles: its members, its powers of the LDS weights and its table."""

from __future__ import annotations

from pathlib import Path

import torch
from hydra import compose, initialize_config_dir

from benchmarks.ensembles import MEMBERS, POWERS, ensembles, settings, table
from dir import LDS, LabelBins
from dir.recipe.cli import config_dir, register_configs
from dir.recipe.nodes import instantiate_with


def test_each_ensemble_has_four_members_that_a_run_trains() -> None:
    runs = settings()
    for name, members in ensembles().items():
        assert set(members) <= set(runs)
        assert len(set(members)) == (1 if name.split(",")[0] in ("uvote", "bagging", "rebagg") else MEMBERS)
    for name in ("uvote", "bagging", "rebagg"):
        assert any(one.endswith(f"={MEMBERS}") for one in runs[name])


def test_the_power_of_the_weights_is_that_of_the_setting(tmp_path: Path) -> None:
    register_configs()
    power = POWERS[0]
    with initialize_config_dir(config_dir(), version_base="1.3"):
        fixed = ["+experiment=tabular", f"data.path={tmp_path}/t.csv", "data.target=y"]
        cfg = compose("train", [*fixed, *settings()[f"power {power:.2f}"]])
    labels, bins = torch.tensor([0.0] * 8 + [1.0]), LabelBins.integers(0, 1)
    weights = instantiate_with(cfg.method.lds, bins=bins).fit(labels).weights
    expected = LDS(bins, kernel_size=5, sigma=1.0, reweight=lambda counts: counts**power).fit(labels).weights
    torch.testing.assert_close(weights, expected)
    assert weights[1] > weights[0]


def test_the_table_averages_splits_and_has_no_number_for_an_empty_group() -> None:
    def row(split: int, mae: float) -> dict:
        part = {group: {"mae": mae, "balanced_mae": 2 * mae} for group in ("all", "few")}
        return {"ensemble": "lds", "split": split, "test": part | {"many": {"mae": None, "balanced_mae": None}}}

    lines = table({"rows": [row(0, 1.0), row(1, 2.0)]}).splitlines()
    assert lines[2] == "| lds | 1.50 ± 0.71 | - | 1.50 ± 0.71 | 3.00 ± 1.41 |"
