"""The error on new rows: estimated without labels, and realised with labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from dir.monitor.errors import ErrorProfile
from dir.monitor.label_shift import estimate
from dir.monitor.reference import GROUPS, Reference
from dir.monitor.settings import Settings

# Fewest rows of a group, new and on validation, that can raise an alarm.
_FEWEST = 10

Floats = NDArray[np.float64]


def expected_error(reference: Reference, predictions: Floats, settings: Settings) -> dict[str, Any]:
    """Return the mean absolute error to expect on new rows without labels, JSON-able.

    Returns:
        ``reference`` (validation error at the label density of the run), ``lowest`` and ``highest`` (errors of the
        label bins: bounds of every estimate), ``correlations``, ``noise``, ``identifiable``; and if it is
        identifiable ``mae`` with ``low`` and ``high``, ``fit``, ``label_shift`` (whether the predictions look like
        label shift, so that the estimate means something) and ``worse``.
    """
    confusion = reference.confusion
    found: dict[str, Any] = {
        "reference": reference.error,
        "lowest": float(confusion.errors.mean.min()),
        "highest": float(confusion.errors.mean.max()),
        "correlations": confusion.correlations.tolist(),
        "noise": confusion.noise,
        "identifiable": confusion.tilts > 0,
        "worse": False,
    }
    if not found["identifiable"]:
        return found
    shift = estimate(confusion, predictions)
    fits = shift.fit >= settings.alpha
    limit = reference.error * (1 + settings.error)
    return found | {
        "mae": shift.error,
        "low": shift.low,
        "high": shift.high,
        "fit": shift.fit,
        "label_shift": fits,
        "worse": fits and shift.low > limit,
    }


def realised_error(
    reference: Reference, labels: Floats, predictions: Floats, groups: NDArray[np.str_], settings: Settings
) -> dict[str, Any]:
    """Return the mean absolute error on rows with labels beside that of the validation rows, JSON-able.

    Args:
        reference: of the run.
        labels, predictions: of the rows with labels, [N].
        groups: shot group of each label, [N].
        settings: thresholds; their ``alpha`` is shared by the groups.

    Returns:
        ``rows``; ``all`` and one entry for each shot group with new rows, with ``rows``, ``mae``, ``reference``
        (validation error at the labels of these rows), ``low`` and ``high`` (95 % interval of the difference) and
        ``worse``, and for groups ``validation`` (validation error of the group, or None). The interval is None for a
        single row. ``worse`` is None with fewer than 10 new rows, and for a group with fewer than 10 validation rows:
        an error that large may be usual there.
    """
    error = np.abs(labels - predictions)
    listed = [name for name in GROUPS if (groups == name).any()]
    own = settings.shared(len(listed) + 1)
    found: dict[str, Any] = {"rows": len(labels)}
    for name in ("all", *listed):
        rows = np.ones(len(labels), dtype=bool) if name == "all" else groups == name
        found[name] = _compare(reference.confusion.errors, labels[rows], error[rows], own)
        group = reference.groups.get(name)
        if group is not None:
            found[name]["validation"] = group.mean if group.rows else None
        if rows.sum() < _FEWEST or (group is not None and group.rows < _FEWEST):
            found[name]["worse"] = None
    return found


def _compare(profile: ErrorProfile, labels: Floats, error: Floats, settings: Settings) -> dict[str, Any]:
    """Return the comparison of new errors with the validation errors at the same labels."""
    mean, uncertain = profile.expected(profile.shares(labels))
    found: dict[str, Any] = {"rows": len(error), "mae": float(error.mean()), "reference": mean}
    if len(error) < 2:
        return found | {"low": None, "high": None, "worse": None}
    own = float(error.std(ddof=1)) / np.sqrt(len(error))
    spread = float(np.hypot(own, uncertain))
    difference = found["mae"] - mean
    excess = difference - settings.error * mean
    if spread == 0:
        return found | {"low": difference, "high": difference, "worse": bool(excess > 0)}
    # Welch and Satterthwaite, with the validation rows as many.
    freedom = (spread**4 / own**4 if own else 1.0) * (len(error) - 1)
    half = float(stats.t.ppf(0.975, freedom)) * spread
    worse = bool(stats.t.sf(excess / spread, freedom) < settings.alpha)
    return found | {"low": difference - half, "high": difference + half, "worse": worse}
