"""LabelCells: a grid of cells over the label range, and the soft histogram of a label over that grid."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from dir._cell_mass import interval_log_mass
from dir._checks import check_choice, check_integer, check_not_negative, check_positive, message
from dir._precision import KeepsPrecision
from dir.bins import LabelBins

Scale = Literal["auto", "even", "log", "quantile", "labels"]

# A label whose skewness exceeds this is given cells even in its logarithm by scale="auto".
_SKEWED = 2.0


def log_cell_mass(position: Tensor, num_cells: int, sigma: float) -> Tensor:
    r"""Return the log-probability that a normal distribution, cut off at the ends of the grid, puts into each cell.

    .. math:: \log q_k = \log \frac{\Phi\left(\frac{k + 1 - u}{\sigma}\right) - \Phi\left(\frac{k - u}{\sigma}\right)}
        {\Phi\left(\frac{K - u}{\sigma}\right) - \Phi\left(\frac{-u}{\sigma}\right)}, \qquad k = 0, \dots, K - 1

    Everything is computed in log-space from the nearer tail, so that masses far below the smallest float, and labels
    outside the grid, are exact as well.

    Args:
        position: labels in units of cells, counted from the lower end of the grid; any finite number.
        num_cells: K.
        sigma: width of the normal distribution, in cells, > 0.

    Shape:
        position ``[N]`` -> float64 ``[N, K]``.

    Example:
        >>> log_cell_mass(torch.tensor([1.5]), 3, 0.5).exp()
        tensor([[0.1577, 0.6845, 0.1577]], dtype=torch.float64)

    Reference:
        Imani and White, Improving Regression Performance with Distributional Losses, ICML 2018, Sec. 3.
    """
    edges = torch.arange(num_cells + 1, dtype=torch.float64, device=position.device)
    z = (edges - position.double()[:, None]) / sigma
    mass = interval_log_mass(z[:, :-1], z[:, 1:], torch.special.log_ndtr)
    normalised: Tensor = mass - mass.logsumexp(dim=1, keepdim=True)
    return normalised


class LabelCells(KeepsPrecision):
    r"""A grid of K cells over the label range and ``reach`` sigmas beyond both of its ends.

    ``position(label)`` maps a label to its place on the grid, 0 to K, linearly within each cell. A soft histogram is
    a normal distribution of width ``sigma`` around that place (:func:`log_cell_mass`): on even cells this is a normal
    distribution over the label; on log cells its width grows with the label.

    Args:
        bins: label bins whose range the grid covers, in the units of the labels given to the methods.
        num_cells: K, the number of cells.
        sigma: width of the soft histogram, in cells.
        reach: distance between the ends of the label range and the ends of the grid, in sigmas.
        scale: ``"even"`` cells have equal widths; ``"log"`` cells have equal widths in ``log(1 + (y - low) / s)``,
            with s the median of ``y - low`` over the training labels; ``"quantile"`` cells hold equally many training
            labels, mixed half and half with even ones because repeated labels would make cells of width zero;
            ``"labels"`` cells are even and each distinct training label (whole numbers, half points) lies in the
            middle of one. ``"auto"`` (default) takes log cells where the skewness of the training labels is above 2
            and that of their logarithm is not, else labels cells where they fit, else even ones. ``chosen`` tells
            which was taken.

    Shape:
        labels ``[N]`` -> positions ``[N]``, float64; soft histograms float64 ``[N, K]``.

    State:
        edges ``[K + 1]``: float64, written by ``__init__`` (even cells) and by ``fit``.

    Raises:
        ValueError: bad arguments; a grid too small for its margins (``num_cells <= 2 * reach * sigma``).

    Example:
        >>> cells = LabelCells(LabelBins.uniform(0, 10, 10), num_cells=16, sigma=1.0, reach=3.0)
        >>> cells.edges[[0, -1]].tolist(), cells.position(torch.tensor([0.0, 10.0])).tolist()
        ([-3.0, 13.0], [3.0, 13.0])
    """

    edges: Tensor

    def __init__(
        self, bins: LabelBins, num_cells: int = 100, sigma: float = 3.0, reach: float = 3.0, scale: Scale = "auto"
    ) -> None:
        super().__init__()
        check_integer("num_cells", num_cells, 2)
        check_positive("sigma", sigma)
        check_not_negative("reach", reach)
        check_choice("scale", scale, get_args(Scale))
        if not num_cells > 2 * reach * sigma + 1:
            raise ValueError(
                message(
                    "num_cells",
                    f"expected more than 2 * reach * sigma + 1 = {2 * reach * sigma + 1:g} cells",
                    num_cells,
                    "Choose more cells, a smaller sigma or a smaller reach.",
                )
            )
        self.num_cells, self.sigma, self.reach, self.scale = num_cells, float(sigma), float(reach), scale
        self.chosen: str = "even" if scale == "auto" else scale
        low, high = bins.edges[[0, -1]].double().tolist()
        self.register_buffer("edges", self._even(low, high))

    @property
    def centers(self) -> Tensor:
        """Middle of each cell, ``[K]``."""
        return (self.edges[1:] + self.edges[:-1]) / 2

    @property
    def widths(self) -> Tensor:
        """Width of each cell, ``[K]``."""
        return self.edges.diff()

    def fit(self, labels: Tensor, bins: LabelBins) -> LabelCells:
        """Place the cells for the training labels ``[N]``; the grid covers the range of ``bins``. Returns itself."""
        values = labels.detach().double().flatten().cpu()
        low, high = bins.edges[[0, -1]].double().tolist()
        shift = float((values - low).clamp(min=0).median())
        if self.scale == "auto":
            skewed = shift > 0 and _skewness(values) > _SKEWED
            log_is_better = skewed and abs(_skewness(torch.log1p((values - low).clamp(min=0) / shift))) < _SKEWED
            self.chosen = "log" if log_is_better else "labels" if self._on_labels(values) is not None else "even"
        edges = self._even(low, high)
        if self.chosen == "log":
            if not shift > 0:
                raise ValueError(
                    message(
                        "scale",
                        "log cells need a median label above the lower end of the label range",
                        self.scale,
                        "Choose scale='even'.",
                    )
                )
            edges = low + shift * torch.expm1(self._even(0.0, math.log1p((high - low) / shift)))
        elif self.chosen == "quantile":
            edges = self._quantiles(values, low, high)
        elif self.chosen == "labels":
            on_labels = self._on_labels(values)
            if on_labels is None:
                raise ValueError(
                    message(
                        "scale",
                        f"{self.num_cells} cells cannot hold each distinct training label in the middle of one",
                        self.scale,
                        "Choose more cells or scale='even'.",
                    )
                )
            edges = on_labels
        self.edges.copy_(edges)
        return self

    def position(self, labels: Tensor) -> Tensor:
        """Return the place of each label on the grid, in cells; the end cells extend beyond the grid."""
        values = labels.double()
        cell = torch.searchsorted(self.edges, values.contiguous(), right=True).sub(1).clamp(0, self.num_cells - 1)
        return cell + (values - self.edges[cell]) / self.widths[cell]

    def forward(self, labels: Tensor) -> Tensor:
        """Return the log of the soft histogram of each label, float64 ``[N, K]``."""
        return log_cell_mass(self.position(labels), self.num_cells, self.sigma)

    def _even(self, low: float, high: float) -> Tensor:
        """Edges of even cells, with the margin of ``reach`` sigmas on both sides of [low, high]."""
        margin = self.reach * self.sigma
        width = (high - low) / (self.num_cells - 2 * margin)
        return low + width * (torch.arange(self.num_cells + 1, dtype=torch.float64) - margin)

    def _quantiles(self, values: Tensor, low: float, high: float) -> Tensor:
        even = self._even(low, high)
        inside = (even > low) & (even < high)
        share = (even[inside] - low) / (high - low)
        quantiles = torch.quantile(values.clamp(low, high), share)
        # Half of each: ties would make cells of width zero, and empty ranges one huge cell.
        even[inside] = (even[inside] + quantiles) / 2
        return even

    def _on_labels(self, values: Tensor) -> Tensor | None:
        """Edges of even cells with the distinct labels in their middles; None where the labels allow no such grid."""
        distinct = torch.unique(values)
        if len(distinct) < 2 or len(distinct) > self.num_cells:
            return None
        step = float(distinct.diff().min())
        steps = (distinct - distinct[0]) / step
        if not bool(((steps - steps.round()).abs() < 1e-4).all()):
            return None
        span = round(float(steps[-1]))
        free = self.num_cells - math.ceil(2 * self.reach * self.sigma) - 1
        finer = free // span
        if finer < 1:
            return None
        width = step / finer
        before = (self.num_cells - span * finer - 1) // 2
        start = float(distinct[0]) - (before + 0.5) * width
        return start + width * torch.arange(self.num_cells + 1, dtype=torch.float64)

    def extra_repr(self) -> str:
        return (
            f"num_cells={self.num_cells}, sigma={self.sigma}, reach={self.reach}, scale={self.scale!r}, "
            f"chosen={self.chosen!r}"
        )


def _skewness(values: Tensor) -> float:
    centred = values - values.mean()
    spread = float(centred.square().mean().sqrt())
    return float((centred / spread).pow(3).mean()) if spread > 0 else 0.0
