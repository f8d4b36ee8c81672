"""LabelPrior: correct a predicted label distribution by the density of the training labels, to a chosen power."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from dir._checks import check_not_negative, message
from dir._precision import KeepsPrecision
from dir.cells import LabelCells

Objective = Callable[[Tensor, Tensor], float]
# Samples of the default floor, chosen on the validation splits of rotated digits, abalone, concrete and drawn faces,
# see docs/tuning.md.
FLOOR_SAMPLES = 30
POWERS = tuple(round(0.05 * step, 2) for step in range(25))
TEMPERATURES = (0.1, 10.0)


def adjust(log_prob: Tensor, log_density: Tensor, power: float | Tensor) -> Tensor:
    r"""Return log-probabilities corrected by a power of the label density.

    .. math:: \log p_t(k \mid x) = \log p(k \mid x) - t \log \pi_k - \log Z

    Power 0 leaves the prediction as it is. Power 1 predicts for a world in which all labels are equally frequent
    (Bayes' rule with the training density replaced by a uniform one). Powers in between trade frequent labels for
    rare ones.

    Args:
        log_prob: log-probabilities or logits of the K cells.
        log_density: log of the training density of the cells.
        power: t, usually between 0 and 1.

    Shape:
        log_prob ``[..., K]``, log_density ``[K]`` -> ``[..., K]``, normalised over the last dimension.

    Example:
        >>> even = torch.tensor([0.5, 0.5]).log()
        >>> adjust(even, torch.tensor([0.8, 0.2]).log(), 1.0).exp()
        tensor([0.2000, 0.8000])

    Reference:
        Menon et al., Long-tail Learning via Logit Adjustment, ICLR 2021, Eq. 9, for classes; Saerens et al.,
        Adjusting the Outputs of a Classifier to New a Priori Probabilities, 2002. The density here is the
        effective label density of LDS (Yang et al. 2021, Eq. 1).
    """
    return (log_prob - power * log_density).log_softmax(dim=-1)


class LabelPrior(KeepsPrecision):
    r"""The training density of the labels over a grid of cells, with a floor.

    .. math:: \pi_k = \frac{\frac1N \sum_i q_k(y_i) + f / K}{1 + f}

    with q the soft histogram of a label (:class:`dir.cells.LabelCells`). Without the floor this is the effective
    label density of LDS with the cells as bins and the same kernel. The floor f bounds
    the correction of cells without training labels, which would gain an unbounded factor of ``density ** -power``.

    Args:
        num_cells: K.
        floor: f, the share of a uniform density that is mixed in, relative to the training labels, >= 0. None
            (default) takes ``30 / N``: as if 30 more samples were spread evenly over the grid.

    State:
        log_density ``[K]``: float64, written by ``fit``; zeros (no correction) before.

    Raises:
        ValueError: a negative floor; labels that are empty.

    Example:
        >>> from dir.bins import LabelBins
        >>> cells = LabelCells(LabelBins.uniform(0, 4, 4), num_cells=4, sigma=0.1, reach=0.0)
        >>> prior = LabelPrior(4, floor=0.0).fit(torch.tensor([0.5, 0.5, 0.5, 2.5]), cells)
        >>> prior.log_density.exp()
        tensor([7.5000e-01, 2.8665e-07, 2.5000e-01, 7.1663e-08], dtype=torch.float64)
    """

    log_density: Tensor

    def __init__(self, num_cells: int, floor: float | None = None) -> None:
        super().__init__()
        if floor is not None:
            check_not_negative("floor", floor)
        self.floor = None if floor is None else float(floor)
        self.register_buffer("log_density", torch.zeros(num_cells, dtype=torch.float64))

    def fit(self, labels: Tensor, cells: LabelCells, weight: Tensor | None = None) -> LabelPrior:
        """Fit the density to the training labels; returns itself.

        Args:
            labels: training labels ``[N]``.
            cells: the grid.
            weight: weights ``[N]``, >= 0: a label of weight 2 counts as two labels. Default: all 1.
        """
        if labels.numel() == 0:
            raise ValueError(message("labels", "expected at least one training label", list(labels.shape)))
        device = cells.edges.device
        total = torch.zeros(cells.num_cells, dtype=torch.float64, device=device)
        values = labels.detach().flatten().to(device)
        # A product with the number 1 keeps the results of earlier versions to the last bit.
        counts = values.new_ones(len(values), dtype=torch.float64) if weight is None else weight.double().to(device)
        # Chunks bound the memory: 1,000 labels by 100 cells at a time.
        for chunk, count in zip(torch.split(values, 1000), torch.split(counts, 1000), strict=True):
            total += (count[:, None] * cells(chunk).exp()).sum(dim=0)
        number = float(counts.sum())
        floor = FLOOR_SAMPLES / number if self.floor is None else self.floor
        density = (total / number + floor / cells.num_cells) / (1 + floor)
        # Masses below the smallest float64 stay finite in the log.
        self.log_density.copy_(density.clamp(min=torch.finfo(torch.float64).tiny).log())
        return self

    def forward(self, log_prob: Tensor, power: float | Tensor) -> Tensor:
        """Return the log-probabilities ``[N, K]`` corrected to ``power``; see :func:`adjust`."""
        log_density = self.log_density.to(torch.promote_types(log_prob.dtype, torch.float32))
        return adjust(log_prob.to(log_density.dtype), log_density, power)

    def extra_repr(self) -> str:
        return f"num_cells={len(self.log_density)}, floor={self.floor}"


def choose_power(
    predict: Callable[[float], Tensor],
    labels: Tensor,
    objective: Objective,
    powers: Sequence[float] = POWERS,
) -> tuple[float, dict[float, float]]:
    """Return the power with the lowest objective on validation data, and the objective of every power tried.

    Only the correction is computed again for each power: no network runs.

    Args:
        predict: predictions of the validation rows at a power, ``[N]``, from saved outputs of the network.
        labels: validation labels, ``[N]``.
        objective: ``objective(predictions, labels)``, lower is better; NaN (an empty shot group) is ignored.
        powers: powers to try. Default: 0, 0.05 ... 1.2.

    Raises:
        ValueError: if the objective is NaN at every power.

    Example:
        >>> labels = torch.tensor([1.0, 3.0])
        >>> mae = lambda predictions, labels: float((predictions - labels).abs().mean())
        >>> choose_power(lambda power: labels + power - 0.5, labels, mae, [0.0, 0.5, 1.0])
        (0.5, {0.0: 0.5, 0.5: 0.0, 1.0: 0.5})
    """
    found = {float(power): objective(predict(float(power)), labels) for power in powers}
    finite = {power: value for power, value in found.items() if value == value}
    if not finite:
        raise ValueError(
            message("objective", "NaN at every power", advice="Choose an objective whose labels occur in validation.")
        )
    return min(finite, key=lambda power: finite[power]), found


def choose_temperature(log_prob: Tensor, cell: Tensor) -> tuple[float, Callable[[float], float]]:
    r"""Return the temperature at which validation labels are most likely, and the loss of any temperature.

    .. math:: \min_T \; -\frac1N \sum_i \log \frac{p(k_i \mid x_i)^{1 / T}}{\sum_k p(k \mid x_i)^{1 / T}}

    The loss is convex in 1 / T, so that a search on a line finds its minimum between 0.1 and 10.

    Args:
        log_prob: log-probabilities of the K cells at power 0 and temperature 1, ``[N, K]``.
        cell: cell of each label, int64 ``[N]``.

    Returns:
        The temperature; and a function from a temperature to the mean negative log-probability of the labels' cells.

    Example:
        >>> sure = torch.tensor([[0.9, 0.1]]).expand(4, 2).log()
        >>> temperature, loss = choose_temperature(sure, torch.tensor([0, 0, 0, 1]))
        >>> round(temperature, 4), loss(1.0) > loss(2.0)  # 9 ** (1 / 2) = 3: probabilities of 3/4 and 1/4
        (2.0, True)

    Reference:
        Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """
    log_prob, rows = log_prob.double(), cell[:, None]

    def loss(temperature: float) -> float:
        scaled = log_prob / temperature
        return float((scaled.logsumexp(dim=1) - scaled.gather(1, rows).squeeze(1)).mean())

    low, high = (1 / limit for limit in reversed(TEMPERATURES))
    found = minimize_scalar(lambda inverse: loss(1 / inverse), bounds=(low, high), method="bounded")
    return 1 / float(found.x), loss
