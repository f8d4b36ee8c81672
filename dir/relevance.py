"""Relevance phi(y) in [0, 1], which defines how rare a label is: 0 for frequent labels, 1 for extreme labels."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import numpy as np
import numpy.typing as npt

from dir._box_plot import finite_labels, hinges
from dir._box_plot import medcouple as medcouple
from dir._checks import check_choice, check_positive, message

if TYPE_CHECKING:
    from torch import Tensor

Method = Literal["box", "adjbox", "auto"]
Extremes = Literal["both", "high", "low"]
Array = npt.NDArray[np.float64]
Labels = TypeVar("Labels", npt.NDArray[Any], "Tensor")


class Relevance:
    r"""The relevance function :math:`\phi(y) \in [0, 1]` of a continuous label.

    The function interpolates control points (label, relevance, slope) by piecewise cubic Hermite polynomials and is
    constant outside the points. On :math:`[x_k, x_{k+1}]`, with :math:`h = x_{k+1} - x_k`, :math:`s = y - x_k` and
    the secant :math:`\delta = (\phi_{k+1} - \phi_k) / h`,

    .. math:: \phi(y) = \phi_k + m_k s + \frac{3 \delta - 2 m_k - m_{k+1}}{h} s^2
        + \frac{m_k - 2 \delta + m_{k+1}}{h^2} s^3

    :meth:`fit` puts control points at the median (relevance 0) and at the ends of the box plot (relevance 1) on the
    sides that ``extremes`` names. Other sides, and with ``"box"`` sides without outliers, have relevance 0 up to the
    smallest or largest label. :meth:`from_points` uses your own control points.

    Args:
        method: ``"box"`` uses the whiskers of Tukey's box plot on sides with labels beyond them. ``"adjbox"`` always
            uses the fences of the box plot adjusted for skewness by the medcouple. ``"auto"`` is ``"box"`` where
            the box plot has a relevant side; for other labels (half of them zero, or none beyond the whiskers) it
            takes the points of :func:`proposed_points` and warns about them.
        extremes: relevant extremes: ``"both"`` (default), ``"high"`` or ``"low"``.
        coef: length of the whiskers in interquartile ranges, > 0. Default: 1.5.

    Shape:
        - Input: a NumPy array, array-like or torch Tensor of any shape.
        - Output: the same kind and shape. Arrays are float64. Tensors have the dtype of floating labels, otherwise
          the default dtype, and are computed in float64 if the device supports it. NaN stays NaN, and infinite labels
          get the relevance of the nearest end.

    State:
        ``control_points`` [K, 3] float64 (label, relevance, slope), written by :meth:`fit`.

    Raises:
        ValueError: wrong arguments; labels that are empty or not finite; so many equal labels that the median
            equals the end of the box plot on a relevant side.
        RuntimeError: a call before :meth:`fit`.

    Example:
        >>> phi = Relevance().fit(np.array([1.0, 4.0, 5.0, 5.0, 6.0, 6.0, 7.0, 7.0, 8.0, 20.0]))
        >>> phi.control_points[:, 0].tolist()
        [4.0, 6.0, 8.0]
        >>> phi(np.array([6.0, 7.0, 8.0, 20.0])).tolist()
        [0.0, 0.5, 1.0, 1.0]

    Reference:
        Ribeiro and Moniz, Imbalanced regression and extreme value prediction, Machine Learning 109, 2020, Sec. 3;
        Hubert and Vandervieren, An adjusted boxplot for skewed distributions, CSDA 52, 2008.
    """

    def __init__(self, method: Method = "box", extremes: Extremes = "both", coef: float = 1.5) -> None:
        check_choice("method", method, get_args(Method), "For your own points use Relevance.from_points.")
        check_choice("extremes", extremes, get_args(Extremes))
        check_positive("coef", coef)
        self.method: Method | Literal["points"] = method
        self.extremes: Extremes = extremes
        self.coef = coef
        self._points: Array | None = None

    @classmethod
    def from_points(cls, points: npt.ArrayLike) -> Relevance:
        """Return the relevance through given control points, which :meth:`fit` does not change.

        Args:
            points: rows (label, relevance, slope), ``[K, 3]``, or rows without slopes, ``[K, 2]``, in any order, with
                K >= 2. Missing slopes are the mean of the two secants, and 0 at both ends. All slopes are limited so
                that the curve is monotone between neighbouring points, and flat at a minimum or maximum among the
                points. (The R package IRon reports the mean of the secants there and evaluates with inverted sign.)
        """
        relevance = cls()
        relevance.method = "points"
        relevance._points = _checked_points(points)
        return relevance

    @property
    def fitted(self) -> bool:
        """Whether :meth:`fit` or :meth:`from_points` has set the control points."""
        return self._points is not None

    @property
    def control_points(self) -> Array:
        """Control points, rows (label, relevance, slope)."""
        if self._points is None:
            raise RuntimeError("Relevance is not fitted. Call fit(train_labels) first.")
        return self._points.copy()

    def fit(self, y: npt.ArrayLike | Tensor) -> Relevance:
        """Compute the control points from the training labels and return the object; given points stay unchanged."""
        if self.method == "auto":
            self._points = self._box_or_proposed(finite_labels(y))
        elif self.method != "points":
            self._points = _automatic_points(finite_labels(y), self.method, self.extremes, self.coef)
        return self

    def _box_or_proposed(self, labels: Array) -> Array:
        try:
            points = _automatic_points(labels, "box", self.extremes, self.coef)
            reason = "the box plot has no label beyond its whiskers on a relevant side"
        except ValueError:
            points, reason = np.zeros((0, 3)), "so many labels are equal that the box plot has no relevant side"
        if points[:, 1].max(initial=0.0) > 0:
            return points
        proposed = proposed_points(labels, self.extremes)
        shown = ", ".join(f"{relevance:g} at {label:.6g}" for label, relevance in proposed)
        warnings.warn(f"relevance: {reason}, so the relevance of the labels is {shown}.", stacklevel=3)
        return _checked_points(proposed)

    def __call__(self, y: Labels) -> Labels:
        points = self.control_points
        torch = sys.modules.get("torch")  # imported already if the labels are a tensor
        if torch is not None and isinstance(y, torch.Tensor):
            dtype = y.dtype if y.is_floating_point() else torch.get_default_dtype()
            wide = y.detach().to(torch.float32 if y.device.type == "mps" else torch.float64)
            return _hermite(wide, points, torch).to(dtype)  # type: ignore[no-any-return]
        return _hermite(np.asarray(y, dtype=np.float64), points, np)  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        if self.method == "points":
            return f"Relevance.from_points({self.control_points.tolist()})"
        return (
            f"Relevance(method={self.method!r}, extremes={self.extremes!r}, coef={self.coef}, fitted={self.fitted})"
        )


def proposed_points(y: Array, extremes: Extremes = "high") -> list[tuple[float, float]]:
    """Return control points (label, relevance) for labels whose box plot gives no relevance.

    The most frequent label, or the median of labels that rarely repeat, has relevance 0. On a relevant side, the
    label that only the outer tenth of the others exceeds has relevance 1. A side without labels has no point.

    Example:
        >>> proposed_points(np.array([0.0] * 8 + [2.0, 5.0]))
        [(0.0, 0.0), (5.0, 1.0)]
    """
    values, counts = np.unique(y, return_counts=True)
    centre = float(values[counts.argmax()]) if counts.max() > len(y) / 10 else float(np.median(y))
    points = [(centre, 0.0)]
    below, above = y[y < centre], y[y > centre]
    if extremes != "high" and len(below):
        points.insert(0, (float(np.quantile(below, 0.1, method="lower")), 1.0))
    if extremes != "low" and len(above):
        points.append((float(np.quantile(above, 0.9, method="higher")), 1.0))
    if len(points) == 1:
        problem = f"no label lies on a side that extremes={extremes!r} makes relevant"
        raise ValueError(message("labels", problem, f"all labels from {y.min():g} to {y.max():g}"))
    return points


def suggested_points(y: Array) -> str:
    """Return :func:`proposed_points` as Python code.

    Example:
        >>> suggested_points(np.array([0.0] * 8 + [2.0, 5.0]))
        'Relevance.from_points([(0, 0), (5, 1)])'
    """
    try:
        points = proposed_points(y)
    except ValueError:
        points = [(float(y.max()), 0.0), (float(y.max()) + 1.0, 1.0)]
    return f"Relevance.from_points([{', '.join(f'({label:.6g}, {relevance:g})' for label, relevance in points)}])"


def _automatic_points(y: Array, method: str, extremes: Extremes, coef: float) -> Array:
    lower, median, upper = hinges(y)
    spread = coef * (upper - lower)
    skew = medcouple(y) if method == "adjbox" else 0.0
    left, right = (-4.0, 3.0) if skew >= 0 else (-3.0, 4.0)
    low, high = lower - spread * np.exp(left * skew), upper + spread * np.exp(right * skew)
    points = [[float(y.min()), 0.0, 0.0], [median, 0.0, 0.0], [float(y.max()), 0.0, 0.0]]
    if extremes != "high" and (method == "adjbox" or bool((y < low).any())):
        points[0] = [low if method == "adjbox" else float(y[y >= low].min()), 1.0, 0.0]
    if extremes != "low" and (method == "adjbox" or bool((y > high).any())):
        points[2] = [high if method == "adjbox" else float(y[y <= high].max()), 1.0, 0.0]
    for side, end in (("lower", points[0]), ("upper", points[2])):
        if end[0] == median and end[1] > 0:
            other = f"extremes='{'high' if side == 'lower' else 'low'}', " if extremes == "both" else ""
            raise ValueError(
                f"labels: too many equal labels for an automatic relevance, got the median {median:g} as the {side} "
                f"end of the box plot. Set {other}method='auto', or use {suggested_points(y)}."
            )
    distinct = [point for k, point in enumerate(points) if k == 1 or point[0] != median]
    return np.array(distinct)


def _checked_points(points: npt.ArrayLike) -> Array:
    given = np.asarray(points, dtype=np.float64)
    if given.ndim != 2 or given.shape[0] < 2 or given.shape[1] not in (2, 3):
        raise ValueError(message("points", "expected the shape [K, 2] or [K, 3] with K >= 2", list(given.shape)))
    if not np.isfinite(given).all():
        raise ValueError(message("points", "expected finite values", given.tolist()))
    given = given[np.argsort(given[:, 0], kind="stable")]
    if not (np.diff(given[:, 0]) > 0).all():
        raise ValueError(message("points", "expected distinct labels", given[:, 0].tolist()))
    if given[:, 1].min() < 0 or given[:, 1].max() > 1:
        raise ValueError(message("points", "expected relevances in [0, 1]", given[:, 1].tolist()))
    secants = np.diff(given[:, 1]) / np.diff(given[:, 0])
    slopes = given[:, 2] if given.shape[1] == 3 else np.pad((secants[1:] + secants[:-1]) / 2, 1)
    return np.column_stack([given[:, :2], _monotone_slopes(slopes, secants)])


def _monotone_slopes(slopes: Array, secants: Array) -> Array:
    """Limit the slopes so that each cubic is monotone (Fritsch and Carlson, SINUM 17, 1980)."""
    limited = slopes.copy()
    # Lowering a slope for one interval can violate the condition of its neighbour, so repeat until all hold.
    for k in list(range(len(secants))) * (len(secants) + 1):
        if secants[k] == 0:
            limited[k : k + 2] = 0
            continue
        a, b = np.maximum(limited[k : k + 2] / secants[k], 0.0)  # 0 for slopes against the secant
        # Outside the region M of the paper, Eq. 4.2, which ends at 4: scale (a, b) to the circle of radius 3.
        outside = max(a, b) > 4 or (2 * a + b > 3 and a + 2 * b > 3 and a < (2 * a + b - 3) ** 2 / (3 * (a + b - 2)))
        if outside:
            a, b = 3 * a / np.hypot(a, b), 3 * b / np.hypot(a, b)
        limited[k : k + 2] = a * secants[k] + 0.0, b * secants[k] + 0.0  # no negative zeros
    return limited


def _hermite(y: Any, points: Array, xp: Any) -> Any:
    """Evaluate with NumPy or torch (``xp``). Constants are Python numbers, so that no data is copied to a device."""
    result = xp.full_like(y, points[0, 1])
    for (x0, p0, m0), (x1, p1, m1) in zip(points[:-1].tolist(), points[1:].tolist(), strict=True):
        width = x1 - x0
        secant = (p1 - p0) / width
        c2, c3 = (3 * secant - 2 * m0 - m1) / width, (m0 - 2 * secant + m1) / width**2
        step = xp.clip(y, x0, x1) - x0
        result = xp.where(y > x0, p0 + step * (m0 + step * (c2 + step * c3)), result)
    # Beyond the last point use the exact end value, which the cubic only matches up to rounding.
    result = xp.where(y >= points[-1, 0], points[-1, 1], result)
    return xp.where(y == y, xp.clip(result, 0.0, 1.0), y)
