r"""The error on new rows without labels, if the density of the labels alone has changed.

Label shift: the rows of each label look as they did, so that the predictions for labels in bin j have the same shares
:math:`C_{ij}` of the prediction bins i; only the shares :math:`\pi_j` of the label bins change. The new predictions
then have the shares :math:`\sum_j C_{ij} \pi_j`, and the mean absolute error on the new rows is
:math:`\sum_j \pi_j m_j`, with the error :math:`m_j` of the labels in bin j. :math:`C` and :math:`m` come from the
validation rows, and :math:`\pi` is estimated from the new predictions alone.

For classes, :math:`\pi` is free (Lipton et al.: invert :math:`C`; Saerens et al.: maximise the likelihood). In a
regression, the predictions for neighbouring label bins are nearly alike, so that free shares follow the noise. Here
the density of the labels is tilted smoothly:

.. math:: \pi_j \propto p_j \exp(\theta_1 u_j + \theta_2 u_j^2)

with the shares :math:`p` of the run and the normal score :math:`u_j` of the bin in them: :math:`\theta_1` moves the
labels up or down, :math:`\theta_2` to the ends of their range or to its middle. :math:`\theta` maximises the
multinomial likelihood of the new predictions, with a standard normal prior that keeps it near 0 where the predictions
say little.

The shares are identifiable only if the predictions depend on the label: :math:`\theta_2`, or both, stay 0 unless as
many canonical correlations of label and prediction bins exceed those of noise.

Reference:
    Saerens, Latinne, Decaestecker, Adjusting the outputs of a classifier to new a priori probabilities, Neural
    Computation, 2002. Lipton, Wang, Smola, Detecting and correcting for label shift with black box predictors, ICML
    2018.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from dir.monitor.errors import ErrorProfile, make_profile

_MOST_TILTS, _RESAMPLES, _SMALLEST = 2, 100, 1e-12

Floats = NDArray[np.float64]


class Confusion(NamedTuple):
    """Predictions and errors of labelled rows by label bin.

    Args:
        errors: errors in K label bins.
        edges: inner edges of the I prediction bins.
        joint: share of the rows of a label bin in each prediction bin, [I, K]; its columns sum to 1.
        shares: shares of the label bins in all rows of the run, > 0, [K].
    """

    errors: ErrorProfile
    edges: Floats
    joint: Floats
    shares: Floats

    @property
    def correlations(self) -> Floats:
        """Canonical correlations of label and prediction bins, the largest first, each in [0, 1]."""
        mass = self.joint * self.errors.rows
        mass = mass[mass.sum(axis=1) > 0] / mass.sum()
        scale = np.sqrt(np.outer(mass.sum(axis=1), mass.sum(axis=0)))
        # The first singular value is 1 for every table.
        found: Floats = np.linalg.svd(mass / scale, compute_uv=False)[1:].clip(max=1.0)
        return found

    @property
    def noise(self) -> float:
        """The largest canonical correlation of as many rows with independent labels (Marchenko and Pastur, 1967)."""
        sides = (np.sqrt(size - 1) for size in self.joint.shape)
        return float(min(1.0, sum(sides) / np.sqrt(self.errors.rows.sum())))

    @property
    def tilts(self) -> int:
        """How many parameters of the label density the predictions tell, 0 to 2. With 0 it is not identifiable."""
        return min(_MOST_TILTS, int((self.correlations > self.noise).sum()))

    def counts(self, predictions: Floats) -> Floats:
        """Return the predictions in each prediction bin, [I]."""
        places = np.searchsorted(self.edges, predictions)
        return np.bincount(places, minlength=len(self.joint)).astype(np.float64)


class LabelShift(NamedTuple):
    """Estimate for new rows.

    Args:
        shares: estimated shares of the label bins, [K].
        error: estimated mean absolute error.
        low, high: 95 % interval of the error, by resampling the validation rows and the new predictions.
        fit: p-value of the new predictions under label shift. A small value says that more than the label density has
            changed, so that the estimate means nothing.
    """

    shares: Floats
    error: float
    low: float
    high: float
    fit: float


def make_confusion(
    labels: Floats, predictions: Floats, weights: Floats, population: Floats, edges: Floats
) -> Confusion:
    """Return the confusion of labelled rows.

    Args:
        labels, predictions: of rows that the model was not trained on, [N].
        weights: of these rows, > 0, [N].
        population: labels of all rows of the run.
        edges: inner edges of the prediction bins.
    """
    errors = make_profile(labels, predictions, weights)
    mass = np.zeros((len(edges) + 1, len(errors.mean)))
    np.add.at(mass, (np.searchsorted(edges, predictions), errors.places(labels)), weights)
    shares = np.maximum(errors.shares(population), 0.5 / len(population))
    return Confusion(errors, edges, mass / mass.sum(axis=0), shares / shares.sum())


def estimate(confusion: Confusion, predictions: Floats) -> LabelShift:
    """Return the shares of the label bins and the mean absolute error of new rows, from their predictions [N].

    The error lies between the smallest and the largest error of a label bin, whatever the shift.
    """
    new, errors = confusion.counts(predictions), confusion.errors
    size = int(new.sum())
    basis = _basis(confusion)
    tilt = _likeliest(confusion, confusion.joint, new, basis, np.zeros(basis.shape[1]))
    shares = _tilted(confusion, basis, tilt)
    random = np.random.default_rng(0)
    found = []
    for _ in range(_RESAMPLES):
        columns = zip(errors.whole_rows, confusion.joint.T, strict=True)
        joint = np.stack([random.multinomial(n, column / column.sum()) / n for n, column in columns], axis=1)
        drawn = random.multinomial(size, new / size).astype(np.float64)
        means = errors.mean + random.normal(size=len(errors.mean)) * errors.standard_error
        found.append(_tilted(confusion, basis, _likeliest(confusion, joint, drawn, basis, tilt)) @ means)
    error = float(shares @ errors.mean)
    low, high = np.quantile(found, (0.025, 0.975)).tolist()
    fit = _fit(confusion, new, shares, basis.shape[1])
    return LabelShift(shares, error, max(0.0, min(low, error)), max(high, error), fit)


def _basis(confusion: Confusion) -> Floats:
    """Return powers of the normal scores of the label bins, standardised under the shares of the run, [K, tilts]."""
    shares = confusion.shares
    score = stats.norm.ppf(np.cumsum(shares) - shares / 2)
    powers = score[:, None] ** np.arange(1, confusion.tilts + 1)
    powers = powers - shares @ powers
    found: Floats = powers / np.sqrt(shares @ powers**2)
    return found


def _tilted(confusion: Confusion, basis: Floats, tilt: Floats) -> Floats:
    """Return the shares of the label bins for parameters of the tilt, [K]."""
    logits = np.log(confusion.shares) + basis @ tilt
    exponents = np.exp(logits - logits.max())
    found: Floats = exponents / exponents.sum()
    return found


def _likeliest(confusion: Confusion, joint: Floats, new: Floats, basis: Floats, start: Floats) -> Floats:
    """Return the parameters of the tilt with the largest posterior probability, [tilts]."""

    def loss(tilt: Floats) -> tuple[float, Floats]:
        own = _tilted(confusion, basis, tilt)
        mixed = np.maximum(joint @ own, _SMALLEST)
        slope = own * (joint.T @ (new / mixed))
        slope -= own * slope.sum()
        return float(-(new @ np.log(mixed)) + tilt @ tilt / 2), tilt - basis.T @ slope

    if not len(start):
        return start
    found: Floats = optimize.minimize(loss, start, jac=True, method="BFGS").x
    return found


def _fit(confusion: Confusion, new: Floats, shares: Floats, tilts: int) -> float:
    """Return the p-value of the new predictions as a mixture of those of the label bins."""
    size, rows = new.sum(), confusion.errors.whole_rows
    expected = confusion.joint @ shares
    # Both the new rows and the validation rows are samples.
    spread = expected / size + confusion.joint @ (shares**2 / rows)
    known = spread > 0
    distance = float(np.sum((new / size - expected)[known] ** 2 / spread[known]))
    return float(stats.chi2.sf(distance, max(len(new) - 1 - tilts, 1)))
