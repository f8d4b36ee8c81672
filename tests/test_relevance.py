"""Tests of Relevance against IRon, SciPy's Hermite spline and a medcouple over all pairs."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import CubicHermiteSpline

from dir.relevance import Relevance, medcouple

DATA = ("abalone", "concrete", "agedb_train", "lognormal")


def naive_medcouple(values):
    """Return the medcouple from a table of all pairs, the lower of two middle values."""

    def low_median(x):
        centre = np.median(x)
        upper, lower = np.sort(x[x >= centre])[::-1], np.sort(x[x <= centre])[::-1]
        ties = int((x == centre).sum())
        table = []
        for i, high in enumerate(upper):
            for j, low in enumerate(lower):
                if high == low:  # both the median: the sign of the place in the block of ties
                    table.append(np.sign(ties - 1 - (i - (len(upper) - ties)) - j))
                else:
                    table.append(((high - centre) - (centre - low)) / (high - low))
        return np.sort(table)[(len(table) - 1) // 2]

    values = np.asarray(values, dtype=np.float64)
    if len(values) <= 100:
        return (low_median(values) - low_median(-values)) / 2
    return low_median(values)


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("method", ["box", "adjbox"])
@pytest.mark.parametrize("extremes", ["both", "high", "low"])
def test_automatic_points_and_values_match_iron(golden, data, method, extremes):
    numbers = golden("phi_sera_iron.npz")
    key = f"iron/{data}/{method}/{extremes}"
    phi = Relevance(method, extremes).fit(numbers[f"{data}/y"])
    np.testing.assert_allclose(phi.control_points.ravel(), numbers[f"{key}/ctrl"], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(phi(numbers[f"{data}/grid"]), numbers[f"{key}/phi_grid"], atol=1e-9)
    np.testing.assert_allclose(phi(numbers[f"{data}/trues"]), numbers[f"{key}/phi_trues"], atol=1e-9)


@pytest.mark.parametrize("data", DATA)
def test_points_with_slopes_match_iron(golden, data):
    numbers = golden("phi_sera_iron.npz")
    phi = Relevance.from_points(numbers[f"iron/{data}/range3/given"].reshape(3, 3))
    np.testing.assert_allclose(phi(numbers[f"{data}/grid"]), numbers[f"iron/{data}/range3/phi_grid"], atol=1e-9)


@pytest.mark.parametrize("data", DATA)
def test_slope_is_zero_at_a_minimum_without_given_slopes_unlike_iron(golden, data):
    numbers = golden("phi_sera_iron.npz")
    key = f"iron/{data}/range2"
    phi = Relevance.from_points(numbers[f"{key}/given"].reshape(3, 2))
    ours, theirs = phi.control_points, numbers[f"{key}/ctrl"].reshape(3, 3)
    np.testing.assert_array_equal(ours[:, :2], theirs[:, :2])
    assert ours[:, 2].tolist() == [0, 0, 0]
    # With this slope SciPy's spline gives IRon's values, so the slope is the only difference.
    spline = CubicHermiteSpline(theirs[:, 0], theirs[:, 1], -theirs[:, 2])
    grid = numbers[f"{data}/grid"].clip(theirs[0, 0], theirs[-1, 0])
    np.testing.assert_allclose(spline(grid), numbers[f"{key}/phi_grid"], atol=1e-9)


@pytest.mark.parametrize("data", ["abalone", "concrete", "california"])
@pytest.mark.parametrize("extremes", ["both", "high", "low"])
def test_box_matches_imbalanced_learning_regression_inside_its_points(golden, data, extremes):
    numbers = golden("phi_ilr_resreg.npz")
    key = f"ilr_phi/{data}/{extremes}"
    phi = Relevance.from_points(numbers[f"{key}/ctrl_pts"].reshape(3, 3))
    labels = numbers[f"{key}/y_unique"]
    inside = labels >= phi.control_points[0, 0]  # below, it returns 1 whatever the first point says
    np.testing.assert_allclose(phi(labels)[inside], numbers[f"{key}/phi"][inside], atol=1e-9)


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=40), st.sampled_from([1, 3]))
@settings(max_examples=200, deadline=None)
def test_medcouple_with_ties_equals_the_table(values, copies):
    values = values * copies
    assert medcouple(values) == pytest.approx(naive_medcouple(values), abs=1e-12)


@pytest.mark.parametrize("size", [7, 100, 101, 400])
def test_medcouple_of_continuous_values_equals_the_table(size):
    values = np.random.default_rng(size).lognormal(size=size)
    assert medcouple(values) == pytest.approx(naive_medcouple(values), abs=1e-12)


def test_medcouple_of_many_values_needs_no_table():
    values = np.random.default_rng(0).exponential(size=200_000)
    assert 0.3 < medcouple(values) < 0.4  # a table would hold 10^10 pairs


def points(draw_slopes):
    level = st.integers(0, 1000).map(lambda k: k / 1000)
    row = st.tuples(level, st.floats(-3, 3)) if draw_slopes else st.tuples(level)
    return st.lists(row, min_size=2, max_size=6)


@given(st.booleans().flatmap(points))
@settings(max_examples=200, deadline=None)
def test_the_curve_is_monotone_between_points(rows):
    given_points = np.array([(k, *row) for k, row in enumerate(rows)])
    phi = Relevance.from_points(given_points)
    for k in range(len(rows) - 1):
        values = phi(np.linspace(k, k + 1, 101))
        steps = np.diff(values) * np.sign(given_points[k + 1, 1] - given_points[k, 1])
        assert steps.min() >= -1e-9
        assert values[[0, -1]] == pytest.approx(given_points[k : k + 2, 1], abs=1e-12)


def test_values_equal_scipys_hermite_spline_and_are_constant_outside():
    phi = Relevance.from_points([[4.0, 0.9], [0.0, 0.0], [1.0, 0.2], [2.5, 0.6]])
    x, p, m = phi.control_points.T
    assert m[0] == m[-1] == 0
    assert m[1] == pytest.approx((0.2 + 0.4 / 1.5) / 2)
    grid = np.linspace(0, 4, 77)
    np.testing.assert_allclose(phi(grid), CubicHermiteSpline(x, p, m)(grid), atol=1e-12)
    assert phi(np.array([-5.0, -np.inf, 9.0, np.inf])).tolist() == [0.0, 0.0, 0.9, 0.9]


def test_arrays_and_tensors_agree_in_every_shape_and_kind():
    phi = Relevance().fit(torch.tensor([1.0, 4.0, 5.0, 5.0, 6.0, 6.0, 7.0, 7.0, 8.0, 20.0]))
    labels = np.array([[5.0, 6.5], [np.nan, 30.0]])
    expected = phi(labels)
    assert expected.shape == (2, 2)
    assert np.isnan(expected[1, 0])
    np.testing.assert_array_equal(phi(torch.from_numpy(labels)).numpy(), expected)
    narrow = phi(torch.from_numpy(labels).float())
    assert narrow.dtype == torch.float32
    np.testing.assert_allclose(narrow.numpy(), expected, atol=1e-7)
    assert phi(torch.tensor([7, 20])).dtype == torch.get_default_dtype()
    assert phi(np.array([7, 20])).tolist() == phi(torch.tensor([7, 20])).tolist() == [0.5, 1.0]


def test_a_side_without_outliers_or_not_in_extremes_has_relevance_zero():
    labels = np.array([1.0, 4.0, 5.0, 5.0, 6.0, 6.0, 7.0, 7.0, 8.0, 20.0])
    assert Relevance(extremes="low").fit(labels)(np.array([20.0, 0.0])).tolist() == [0.0, 1.0]
    assert Relevance(extremes="high").fit(labels)(np.array([20.0, 0.0])).tolist() == [1.0, 0.0]
    assert Relevance().fit(np.arange(10.0))(np.arange(10.0)).max() == 0


def test_labels_that_start_at_their_median_have_one_side():
    labels = np.array([0.0] * 60 + list(range(1, 41)) + [500.0])
    phi = Relevance(extremes="high").fit(labels)
    assert phi.control_points[:, 0].tolist() == [0.0, 40.0]
    assert phi(np.array([0.0, 500.0])).tolist() == [0.0, 1.0]


def test_repr_shows_the_arguments():
    assert repr(Relevance("adjbox")) == "Relevance(method='adjbox', extremes='both', coef=1.5, fitted=False)"
    made = Relevance.from_points([[0, 1], [1, 0]])
    assert repr(made) == "Relevance.from_points([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])"
    assert made.fit(np.arange(9.0)).control_points.tolist() == [[0, 1, 0], [1, 0, 0]]  # points stay


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Relevance("boxplot"), r"method: .*got 'boxplot'"),
        (lambda: Relevance(extremes="up"), r"extremes: .*got 'up'"),
        (lambda: Relevance(coef=0), r"coef: .*got 0"),
        (lambda: Relevance().fit([]), r"labels: .*none"),
        (lambda: Relevance().fit([1.0, float("nan")]), r"labels: .*got '1 "),
        (
            lambda: Relevance().fit([0.0] * 9 + [1.0]),
            r"labels: .*median 0 as the upper end",
        ),
        (lambda: Relevance.from_points([[0, 1]]), r"points: .*got \[1, 2\]"),
        (lambda: Relevance.from_points([[0, 1], [1, np.inf]]), r"points: .*inf"),
        (lambda: Relevance.from_points([[0, 1], [0, 0]]), r"points: .*got \[0.0, 0.0\]"),
        (lambda: Relevance.from_points([[0, 1.5], [1, 0]]), r"points: .*got \[0.0, 1.5\]|points: .*got \[1.5, 0.0\]"),
    ],
)
def test_input_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_calling_before_fit_is_a_runtime_error():
    with pytest.raises(RuntimeError, match=r"Relevance.*fit"):
        Relevance()(np.zeros(3))


def test_relevance_does_not_import_torch():
    code = (
        "import sys, numpy as np; from dir.relevance import Relevance; Relevance().fit(np.arange(9.))(np.zeros(2)); "
    )
    subprocess.run([sys.executable, "-c", code + "assert 'torch' not in sys.modules"], check=True)


def test_the_error_for_zero_inflated_labels_proposes_points_that_work() -> None:
    labels = np.array([0.0] * 80 + [*range(1, 21)])
    for extremes in ("both", "high"):
        with pytest.raises(ValueError, match=r"^labels: .*median 0 as the upper end") as caught:
            Relevance(extremes=extremes).fit(labels)
        numbers = re.search(r"from_points\(\[\((\S+), 0\), \((\S+), 1\)\]\)", str(caught.value))
        assert numbers is not None
        low, high = map(float, numbers.groups())
        phi = Relevance.from_points([(low, 0), (high, 1)]).fit(labels)(labels)
        assert (phi[:80] == 0).all()
        assert (phi[80:] > 0).all()
        assert (phi == 1).sum() == 2 + (high == 18)


@pytest.mark.parametrize("extremes", ["both", "high", "low"])
def test_auto_equals_box_where_the_box_plot_has_a_relevant_side(extremes) -> None:
    labels = np.concatenate([np.random.default_rng(0).normal(size=500), [-9.0, 9.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        auto = Relevance("auto", extremes).fit(labels)
    np.testing.assert_array_equal(auto.control_points, Relevance("box", extremes).fit(labels).control_points)


@pytest.mark.parametrize("zeros", [2000, 5000])
def test_auto_finds_a_relevance_for_zero_inflated_labels(zeros: int) -> None:
    labels = np.concatenate([np.zeros(zeros), np.linspace(1, 50, 250)])
    with pytest.warns(UserWarning, match=r"relevance: so many labels are equal.* 0 at 0, 1 at 45\.\d"):
        phi = Relevance("auto", "high").fit(labels)
    values = phi(labels)
    assert (values[:zeros] == 0).all()
    assert 0 < (values > 0.8).mean() < 0.2


def test_auto_says_the_points_of_labels_without_outliers() -> None:
    labels = np.linspace(0, 1, 101)
    with pytest.warns(UserWarning, match=r"relevance: the box plot has no label .*1 at 0\.04, 0 at 0\.5, 1 at 0\.96"):
        phi = Relevance("auto").fit(labels)
    assert phi(np.array([0.0, 0.5, 1.0])).tolist() == [1.0, 0.0, 1.0]


def test_auto_refuses_labels_without_a_relevant_side() -> None:
    with pytest.raises(ValueError, match=r"labels: .*extremes='low'.*0 to 9"):
        Relevance("auto", "low").fit(np.array([0.0] * 80 + [*range(10)]))


def test_the_advice_for_one_relevant_side_does_not_name_the_other_side() -> None:
    with pytest.raises(ValueError, match=r"method='auto'") as caught:
        Relevance("box", "high").fit(np.array([0.0] * 98 + [1.0, 5.0]))
    assert "extremes" not in str(caught.value)
