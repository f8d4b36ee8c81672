"""The critical-difference diagram: the groups of a published figure, and of a search over all sets."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from dir.figures import RankDiagram, critical_difference_figure, rank_groups
from dir.figures.style import COLOURS

# Demsar 2006, Table 6 and Section 3.2.2: average ranks of C4.5's variants over 14 data sets.
PUBLISHED = {"C4.5": 3.143, "C4.5+m": 2.0, "C4.5+cf": 2.893, "C4.5+m+cf": 1.964}


def shown(figure: object) -> str:
    """Return all texts of a figure."""
    from matplotlib.text import Text

    return " ".join(one.get_text() for one in figure.findobj(Text)).replace("\n", " ")


def bars(figure: object) -> list[tuple[float, float]]:
    """Return the ends of the bars that join methods."""
    from matplotlib.lines import Line2D

    lines = [line for line in figure.findobj(Line2D) if line.get_color() == COLOURS[1]]
    return [(line.get_xdata()[0], line.get_xdata()[-1]) for line in lines]


def test_the_groups_are_those_of_the_published_figure() -> None:
    # At 10 % the critical difference is 1.12: "C4.5+cf" cannot be told apart from either group.
    assert rank_groups(PUBLISHED, 1.12) == [("C4.5+m+cf", "C4.5+m", "C4.5+cf"), ("C4.5+cf", "C4.5")]
    # At 5 % it is 1.25, more than the distance of the best and the worst: one group.
    assert rank_groups(PUBLISHED, 1.25) == [("C4.5+m+cf", "C4.5+m", "C4.5+cf", "C4.5")]


def test_the_groups_are_the_largest_sets_of_near_ranks() -> None:
    rng = np.random.default_rng(0)
    for limit in (0.0, 0.3, 1.0, 2.5):
        average = {name: float(rng.integers(2, 14)) / 2 for name in "abcdefg"}
        near = [
            set(some)
            for size in range(2, 8)
            for some in itertools.combinations(average, size)
            if max(average[a] for a in some) - min(average[a] for a in some) <= limit
        ]
        largest = [one for one in near if not any(one < other for other in near)]
        found = [set(group) for group in rank_groups(average, limit)]
        assert sorted(map(sorted, found)) == sorted(map(sorted, largest))


def test_bars_stars_and_names() -> None:
    p_values = {"C4.5": math.nan, "C4.5+m": 0.049, "C4.5+cf": 0.05, "C4.5+m+cf": 0.3}
    figure = critical_difference_figure(RankDiagram(PUBLISHED, 1.12, 14, 0.01, "C4.5", p_values, "auc, all labels"))
    (first, last), (second, worst) = bars(figure)
    assert first < 1.964 < 2.893 < last
    assert second < 2.893 < 3.143 < worst
    assert first == pytest.approx(1.964, abs=0.03)
    assert worst == pytest.approx(3.143, abs=0.03)
    text = shown(figure)
    assert "C4.5+m*  2.00" in text
    assert "C4.5+cf  2.89" in text
    assert "auc, all labels" in text
    assert "critical difference 1.12" in text
    assert "ranks lie within 1.12 (Nemenyi, 5 %) (Friedman p = 0.01). *: differs from C4.5 (bold) at 5 %" in text


def test_without_a_difference_at_all_one_bar_joins_all_methods() -> None:
    far = RankDiagram({"a": 1.0, "b": 3.0, "c": 2.0}, 0.5, 3, 0.2, "a", {"b": 0.6, "c": 0.5})
    figure = critical_difference_figure(far)
    ((left, right),) = bars(figure)
    assert left < 1.0 < 3.0 < right
    text = shown(figure)
    assert "Friedman's test finds no difference (p = 0.2)" in text
    assert "No method differs from a (bold)" in text
    assert "critical difference" not in text


def test_no_text_leaves_the_picture_and_panels_lie_below_each_other() -> None:
    long = {f"histogram_prior method.power={number / 10:g}": 1.0 + number for number in range(12)}
    figure = critical_difference_figure(RankDiagram(long, 3.0, 9), RankDiagram(long, 4.0, 9))
    figure.draw_without_rendering()
    assert len(figure.subfigs) == 2
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert box.x0 > -0.05
    assert box.y0 > -0.05
    assert box.x1 < width + 0.05
    assert box.y1 < height + 0.05


def test_too_little_is_refused() -> None:
    with pytest.raises(ValueError, match="diagrams: expected at least one"):
        critical_difference_figure()
    with pytest.raises(ValueError, match=r"average: expected the ranks of two methods or more, got \['a'\]"):
        critical_difference_figure(RankDiagram({"a": 1.0}, 1.0, 3))
