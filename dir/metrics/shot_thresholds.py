"""Thresholds of the shot groups: training counts, shares of the rows, or multiples of the uniform label density."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dir._checks import check_choice, check_integer, check_interval, check_positive, message

if TYPE_CHECKING:  # the configs read the defaults before PyTorch is imported
    from torch import Tensor

RULES = ("count", "quantile", "density")
_DEFAULTS: dict[str, tuple[float, float]] = {"count": (100, 20), "quantile": (0.5, 0.2), "density": (1.0, 0.2)}
_ORDER = "The thresholds must satisfy few <= many."


class Thresholds(NamedTuple):
    """Thresholds of the shot groups, in training samples per bin (of mean width, where widths differ).

    A bin with more samples than ``many`` is many-shot, and a bin with fewer samples than ``few`` is few-shot.
    """

    many: float
    few: float


def default_threshold(by: str, name: str) -> float:
    """Return the default of ``many`` or ``few`` under a rule; configs read it as ``${shot_threshold:...}``.

    Example:
        >>> default_threshold("count", "many"), default_threshold("density", "few")
        (100, 0.2)
    """
    check_choice("task.shots.by", by, RULES)
    check_choice("name", name, ("many", "few"))
    return _DEFAULTS[by][("many", "few").index(name)]


def shot_thresholds(
    counts: Tensor,
    many: float | None = None,
    few: float | None = None,
    by: str = "count",
    edges: Tensor | None = None,
) -> tuple[Thresholds, Tensor]:
    """Return the thresholds of the shot groups, and the number of each bin that is compared with them.

    Args:
        counts: training samples per bin, [num_bins].
        many, few: see :class:`dir.metrics.ShotMetrics`; None for the defaults of the rule.
        by: "count", "quantile" or "density".
        edges: edges of the bins, [num_bins + 1]; only for "density". None: the bins have one width.

    Raises:
        ValueError: thresholds outside their range, or "quantile" where all bins have the same number of samples.

    Example:
        >>> import torch
        >>> shot_thresholds(torch.tensor([40, 9, 3, 1, 0, 1]), by="quantile")[0]
        Thresholds(many=39.0, few=4.0)
    """
    many = default_threshold(by, "many") if many is None else many
    few = default_threshold(by, "few") if few is None else few
    if by == "count":
        check_integer("few", few)
        check_integer("many", many, int(few), "The thresholds must satisfy 1 <= few <= many.")
        return Thresholds(many, few), counts
    if by == "quantile":
        return _by_quantile(counts, many, few), counts
    check_positive("few", few)
    check_positive("many", many)
    if few > many:
        raise ValueError(message("many", f"expected a number >= few={few}", many, _ORDER))
    return _by_density(counts, many, few, edges)


def _by_quantile(counts: Tensor, many: float, few: float) -> Thresholds:
    """Return thresholds between counts, so that the rows in few-shot and many-shot bins have the given shares."""
    advice = "For by='quantile' many and few are shares of the training rows, such as 0.5 and 0.2."
    check_interval("few", few, "(0, 1)", advice)
    check_interval("many", many, "(0, 1)", advice)
    if few + many > 1:
        raise ValueError(message("many", f"expected a share of at most 1 - few = {1 - few:g}", many, advice))
    filled = counts[counts > 0].double()
    levels = sorted(set(filled.tolist()))
    if len(levels) < 2:
        problem = f"all {len(filled)} bins with training samples hold equally many, so that none is rare"
        raise ValueError(message("by", problem, "quantile", "Set by='count', or more bins."))
    total = filled.sum().item()
    # All bins of one count are in one group, so that the shares cannot be met exactly. The emptiest bins are always
    # few-shot and the fullest many-shot.
    few_levels = [level for level in levels[:-1] if filled[filled <= level].sum().item() <= few * total]
    lower = max(few_levels, default=levels[0])
    upper = min(level for level in levels if level > lower and filled[filled > level].sum().item() < many * total)
    return Thresholds(upper - 1.0, lower + 1.0) if upper - lower > 1 else Thresholds(lower + 0.5, lower + 0.5)


def _by_density(counts: Tensor, many: float, few: float, edges: Tensor | None) -> tuple[Thresholds, Tensor]:
    """Return thresholds as multiples of the samples that each bin would hold if the labels were uniform."""
    samples = counts.double()
    widths = samples.new_ones(len(counts)) if edges is None else edges.cpu().double().diff()
    filled = (counts > 0).nonzero().flatten()
    if not len(filled):
        raise ValueError(message("counts", "no bin has training samples", advice="Use bins.counts(train_labels)."))
    # Bins beyond the training labels, such as those of the test labels alone, do not change the uniform density.
    covered = widths[filled[0] : filled[-1] + 1]
    uniform = samples.sum().item() / len(covered)
    per_width = samples / widths * covered.mean()
    return Thresholds(many * uniform, few * uniform), per_width
