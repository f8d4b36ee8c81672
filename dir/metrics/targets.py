"""TargetMetrics: the shot metrics of each of several targets, and their mean in units that the targets share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from dir._checks import check_positive
from dir.metrics.shots import ShotMetrics
from dir.metrics.table import TABLE

_UNIT_POWER = {info.name: info.unit_power for info in TABLE}
Groups = dict[str, dict[str, Tensor]]


def mean_over_targets(by_target: Sequence[Mapping[str, Mapping[str, Tensor]]], scales: Sequence[float]) -> Groups:
    r"""Return the mean of each metric over the targets, by shot group.

    .. math:: \frac{1}{K} \sum_k m_k / s_k^p

    with the scale s of a target and the power p of the label's unit in the metric: 1 for errors, 2 for squared errors
    and 0 for correlations. A shot group takes the targets that have labels in it, and ``n`` is the sum of theirs.

    Args:
        by_target: metrics of each target, as :class:`ShotMetrics` returns them.
        scales: scale of each target, > 0.

    Example:
        >>> one = {"all": {"n": torch.tensor(2), "mae": torch.tensor(3.0)}}
        >>> other = {"all": {"n": torch.tensor(2), "mae": torch.tensor(400.0)}}
        >>> mean_over_targets([one, other], scales=[2.0, 100.0])["all"]
        {'n': tensor(4), 'mae': tensor(2.7500)}
    """
    found: Groups = {}
    for group, metrics in by_target[0].items():
        counts = [groups[group]["n"] for groups in by_target]
        kept = [k for k, count in enumerate(counts) if bool(count > 0)] or list(range(len(counts)))
        found[group] = {"n": torch.stack(counts).sum()}
        for name in metrics:
            if name != "n":
                values = [by_target[k][group][name] / scales[k] ** _UNIT_POWER[name] for k in kept]
                found[group][name] = torch.stack(values).mean()
    return found


class TargetMetrics(nn.ModuleList):
    """Shot metrics of each target, and their mean.

    The shot groups are those of each target: a row may be few-shot by one label and many-shot by another.

    Args:
        metrics: K metrics, one for each target.
        names: names of the targets.
        scales: scale of each target, > 0, by which errors are divided before the mean: otherwise the target with the
            largest unit would decide the mean. The recipes take the standard deviation of the training labels.

    Shape:
        preds, target: ``[N, K]``. ``compute()`` returns the means as ``{"all": {"n", "mae", ...}, "many": ...}``, and
        the metrics of each target, in its raw unit, as ``{"NAME/all": ..., "NAME/many": ...}``.

    Raises:
        ValueError: a scale that is not positive.

    Example:
        >>> from dir import LabelBins
        >>> bins = LabelBins.integers(0, 1)
        >>> made = (ShotMetrics(bins, counts=torch.tensor([500, 50]), metrics=["mae"]) for _ in range(2))
        >>> metric = TargetMetrics(made, ["valence", "arousal"], scales=[1.0, 2.0])
        >>> metric.update(torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 0.0]]))
        >>> found = metric.compute()
        >>> found["valence/median"]["mae"].item(), found["arousal/many"]["mae"].item(), found["all"]["mae"].item()
        (1.0, 1.0, 0.75)
    """

    def __init__(self, metrics: Iterable[ShotMetrics], names: Sequence[str], scales: Sequence[float]) -> None:
        super().__init__(metrics)
        for scale in scales:
            check_positive("scales", scale)
        self.names = tuple(names)
        self.scales = tuple(float(scale) for scale in scales)

    @property
    def parts(self) -> dict[str, ShotMetrics]:
        """The metrics of each target, by name."""
        return dict(zip(self.names, self, strict=True))  # type: ignore[arg-type]

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add a batch."""
        for metric, own, labels in zip(self.parts.values(), preds.unbind(1), target.unbind(1), strict=True):
            metric.update(own, labels)

    def compute(self) -> Groups:
        """Return the means over the targets, and all metrics of each target, see the class."""
        by_target = {name: metric.compute() for name, metric in self.parts.items()}
        found = mean_over_targets(list(by_target.values()), self.scales)
        for name, groups in by_target.items():
            found |= {f"{name}/{group}": values for group, values in groups.items()}
        return found

    def reset(self) -> None:
        """Start over."""
        for metric in self.parts.values():
            metric.reset()
