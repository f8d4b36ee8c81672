"""The error of a training that diverged, which a search tells from other errors."""

from __future__ import annotations


class DivergedError(RuntimeError):
    """The loss or the predictions of a training are not finite: its settings are bad, not its data."""
