"""Names of the groups of metrics of several targets. The module imports neither torch nor torchmetrics."""

from __future__ import annotations

from collections.abc import Collection

MEANS = (
    "mean/...: means over the targets, after errors were divided by the scale of their target: task.target_scale, or "
    "the standard deviation of its training labels."
)


def heading_of(group: str, groups: Collection[str]) -> str:
    """Return how tables name a group of metrics: ``mean/few`` for a mean over targets, beside ``valence/few``.

    Args:
        group: the group.
        groups: all groups of the table.

    Example:
        >>> heading_of("few", ["few", "valence/few"]), heading_of("few", ["few"])
        ('mean/few', 'few')
    """
    return f"mean/{group}" if "/" not in group and any("/" in other for other in groups) else group
