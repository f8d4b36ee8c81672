"""Thresholds of a monitoring: a shift must be large, and larger than chance."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dir._checks import check_interval, check_not_negative


@dataclass(frozen=True)
class Settings:
    """Thresholds; see docs/management.md for the false alarms that they give.

    Args:
        psi: population stability index above which a density has shifted. Default 0.2.
        ks: Kolmogorov-Smirnov distance above which a density has shifted. Default 0.1.
        missing: increase of the share of missing or unknown values above which a column has drifted. Default 0.02.
        error: tolerated increase of the mean absolute error, as a share of the validation error. Default 0.1.
        alpha: probability of a false alarm, for all tests on the inputs together, and likewise for those on the
            predictions and on the errors. Default 0.01.
    """

    psi: float = 0.2
    ks: float = 0.1
    missing: float = 0.02
    error: float = 0.1
    alpha: float = 0.01

    def check(self) -> None:
        """Raise a ValueError for a threshold that cannot be used."""
        for name in ("psi", "error"):
            check_not_negative(name, getattr(self, name))
        for name in ("ks", "missing"):
            check_interval(name, getattr(self, name), "[0, 1]")
        check_interval("alpha", self.alpha, "(0, 1)")

    def shared(self, tests: int) -> Settings:
        """Return the thresholds of one of several tests that share the probability of a false alarm (Bonferroni)."""
        return replace(self, alpha=self.alpha / max(tests, 1))
