"""dir.commands.judging: objectives by hand, intervals against the theory, corrections that do not see their rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dir.commands.judging import (
    FOLDS,
    Objective,
    Rows,
    at_best_power,
    bootstrap_counts,
    corrected,
    cross_fitted,
    folds_of,
    interval,
    resampled,
)
from dir.commands.recommendation import advise

ROWS = Rows(
    label=np.array([1.0, 1.0, 1.0, 5.0]),
    bin=np.array([0, 0, 0, 4]),
    shot=np.array(["many", "many", "many", "few"]),
)
PREDICTION = np.array([2.0, 1.0, 1.0, 3.0])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("crowd", (1 + 0 + 0 + 2) / 4),
        ("balanced", ((1 + 0 + 0) / 3 + 2) / 2),
        ("tail", 2.0),
        ("cost:5,1", (1 * 1 + 5 * 2) / 4),
    ],
)
def test_the_objectives_by_hand(text: str, value: float) -> None:
    assert Objective.parse(text).value(ROWS, PREDICTION) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("mae", r"--objective: .*got 'mae'"),
        ("cost", "cost:UNDER,OVER"),
        ("cost:1", "cost:UNDER"),
        ("cost:0,1", "under"),
    ],
)
def test_other_objectives_are_refused(text: str, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        Objective.parse(text)


def test_the_tail_needs_few_shot_rows() -> None:
    rows = Rows(ROWS.label, ROWS.bin, np.full(4, "many"))
    with pytest.raises(ValueError, match=r"task\.shots\.by=quantile"):
        Objective.parse("tail").value(rows, PREDICTION)


def test_resampled_means_are_those_of_the_repeated_rows() -> None:
    random = np.random.default_rng(0)
    losses, groups = random.random(12), random.integers(-1, 3, 12)
    counts = random.integers(0, 3, (6, 12)).astype(float)
    got = resampled(losses, groups, counts)
    for row, times in zip(got, counts.astype(int), strict=True):
        repeated, own = np.repeat(losses, times), np.repeat(groups, times)
        assert row == pytest.approx(np.mean([repeated[own == group].mean() for group in set(own[own >= 0])]))


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution() -> None:
    losses = np.random.default_rng(0).normal(5, 2, 400)
    groups = np.zeros(400, dtype=int)
    low, high = interval(resampled(losses, groups, bootstrap_counts(groups, draws=4000)))
    half = 1.96 * losses.std(ddof=1) / 20
    assert (low, high) == pytest.approx((losses.mean() - half, losses.mean() + half), abs=0.15 * half)


def test_each_group_is_resampled_by_itself() -> None:
    groups = np.array([0, 0, 0, 1, -1])
    counts = bootstrap_counts(groups, draws=50)
    assert (counts[:, :3].sum(1) == 3).all()
    assert (counts[:, 3] == 1).all()
    assert (counts[:, 4] == 0).all()
    assert counts[:, 0].std() > 0
    np.testing.assert_array_equal(counts, bootstrap_counts(groups, draws=50))


def test_folds_are_even_and_no_row_is_fitted_on() -> None:
    folds = folds_of(23)
    assert sorted(np.bincount(folds)) == [4, 4, 5, 5, 5]
    assert FOLDS == 5
    seen: dict[int, set[int]] = {}

    def fit(others: Any) -> Any:
        def predict(own: Any) -> Any:
            seen.update({int(row): set(others.tolist()) for row in own})
            return own.astype(float)

        return predict

    np.testing.assert_array_equal(cross_fitted(fit, folds), np.arange(23.0))
    assert all(row not in others and len(others) >= 18 for row, others in seen.items())


def test_a_correction_is_judged_on_rows_that_it_has_not_seen() -> None:
    # Labels are noise. A correction of its own rows would look better than the mean.
    random = np.random.default_rng(0)
    rows = Rows(random.normal(size=300), np.zeros(300, dtype=int), np.full(300, "many"))
    noise = random.normal(size=300)
    honest = corrected("isotonic", rows, noise, folds_of(300))
    from sklearn.isotonic import IsotonicRegression

    seen = IsotonicRegression().fit_transform(noise, rows.label)
    error = {name: float(np.square(p - rows.label).mean()) for name, p in (("honest", honest), ("seen", seen))}
    assert error["seen"] < np.var(rows.label) < error["honest"] * 1.001
    # A true bias is corrected.
    shifted = corrected("affine", rows, 2 * rows.label + 3, folds_of(300))
    np.testing.assert_allclose(shifted, rows.label, atol=1e-9)


def test_the_power_with_the_lowest_objective_is_found() -> None:
    label = np.repeat(np.arange(10.0), 30)
    rows = Rows(label, label.astype(int), np.full(300, "few"))
    by_power = [(power, label + (power - 0.6)) for power in (0.0, 0.3, 0.6, 0.9)]
    power, prediction = at_best_power(Objective.parse("balanced"), rows, by_power, folds_of(300))
    assert power == 0.6
    np.testing.assert_allclose(prediction, label)


def entry(name: str, value: float, low: float, high: float) -> dict[str, Any]:
    return {"name": name, "value": value, "low": value - 1, "high": value + 1,
            "to_best": {"mean": value - 2, "low": low, "high": high}}  # fmt: skip


def test_the_advice_says_whether_a_plain_model_is_as_good() -> None:
    objective = Objective.parse("balanced")
    best = entry("network, lds weights", 2.0, 0, 0)
    clear = advise(objective, [best, entry("trees", 3.0, 0.5, 1.5), entry("network", 4.0, 1, 3)])
    assert clear.startswith("Use network, lds weights (balanced_mae 2 [1, 3])")
    assert "trees, is worse by 1 [0.5, 1.5]" in clear
    unsure = advise(objective, [best, entry("network", 2.1, -0.3, 0.5)])
    assert "cannot tell it from the plain model network" in unsure
    assert "no method against imbalance is better" in advise(objective, [entry("trees", 2.0, 0, 0), best])
    assert "no plain model" in advise(objective, [best])
