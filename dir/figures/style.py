"""The style of all figures: colours for any colour vision, one colour for texts and axes, no backend.

matplotlib is imported by the functions, because importing it takes half a second. pyplot is not used: it needs a
backend, and keeps every figure of a sweep in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from dir._checks import message

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito, readable with any colour vision, on white and on dark grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6BB1", "#808080")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
# The shot groups, from frequent to rare labels. Lines of one figure also differ in their dashes and markers.
SHOT_COLOURS = {"all": "#808080", "many": COLOURS[0], "median": COLOURS[4], "few": COLOURS[1], "zero": COLOURS[3]}
SHOT_DASHES: dict[str, Any] = {"all": (0, (1, 1)), "many": "-", "median": "--", "few": "-.", "zero": ":"}
SHOT_SHADES = {"many": 0.30, "median": 0.20, "few": 0.12, "zero": 0.06}
# Texts, axes and reference lines. A report replaces this colour, which nothing else has, by the page's own.
INK = "#010203"
GREY = "#808080"
# A sequential map that is ordered in print without colours, and for any colour vision.
COLOUR_MAP = "cividis"

_RC: Any = {
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.labelsize": 9,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "figure.dpi": 100,
    "figure.facecolor": "white",
    "font.size": 9,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "savefig.dpi": 150,
    "text.color": INK,
    "xtick.color": INK,
    "xtick.labelsize": 8,
    "ytick.color": INK,
    "ytick.labelsize": 8,
}

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def styled(draw: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Let a function draw in the style of all figures, whatever the user's own settings of matplotlib are."""

    @wraps(draw)
    def drawn(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        try:
            import matplotlib
        except ImportError as error:
            advice = "pip install matplotlib."
            raise ImportError(message("dir.figures", "needs matplotlib", advice=advice)) from error
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(_RC)
            return draw(*args, **kwargs)

    return drawn


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, Any]:
    """Return a figure in inches and its axes: one, or an array ``[rows, columns]``."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    panels = figure.subplots(rows, columns, **({"squeeze": rows * columns == 1} | options))
    return figure, panels


def label_name(unit: str) -> str:
    """Return the name of the axis of the label.

    Example:
        >>> label_name("years"), label_name("")
        ('label (years)', 'label')
    """
    return f"label ({unit})" if unit else "label"


def mark_every(points: int) -> int:
    """Return the step between the markers of a line: markers at each of 100 labels are a smear, and large in an SVG.

    Example:
        >>> mark_every(20), mark_every(101)
        (1, 4)
    """
    return max(1, points // 25)


def behind(axes: Any, ylabel: str) -> Any:
    """Return axes that share the x-axis and lie behind, with their own scale at the right."""
    back = axes.twinx()
    back.spines["right"].set_visible(True)
    back.set_ylabel(ylabel)
    axes.set_zorder(back.get_zorder() + 1)
    axes.patch.set_visible(False)
    return back


def legend(figure: Any, parts: Iterable[Any], loc: str = "outside upper right", columns: int = 4) -> None:
    """Draw one legend for several axes, outside of all of them; each name once."""
    found: dict[str, Any] = {}
    for axes in parts:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(name, handle)
    if found:
        figure.legend(list(found.values()), list(found), loc=loc, ncols=min(columns, len(found)))
