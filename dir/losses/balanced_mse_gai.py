"""Balanced MSE with the training distribution as a Gaussian mixture (GAI), integrated in closed form."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dir._checks import check_integer, message
from dir.bins import LabelBins, check_finite
from dir.losses.balanced_mse import NoiseScale, noise_variance, scaled_mean, target_rows
from dir.losses.base import labelled_rows


def gai(
    pred: Tensor,
    target: Tensor,
    sigma: float | Tensor,
    means: Tensor,
    weights: Tensor,
    variances: Tensor,
    weight: Tensor | None = None,
) -> Tensor:
    r"""Return the Balanced MSE under a Gaussian mixture of the training targets.

    .. math:: \frac{2 \bar\sigma^2}{N} \sum_i w_i \left(
        -\log \mathcal N(y_i; \hat y_i, \sigma^2 I)
        + \log \sum_k \phi_k \, \mathcal N(\hat y_i; \mu_k, \Sigma_k + \sigma^2 I) \right)

    where the factor with :math:`\bar\sigma` gets no gradient. 0 for an empty batch.

    Args:
        pred: predictions.
        target: labels, of pred's shape.
        sigma: standard deviation of the prediction's noise, above 0, in the targets' unit; see
            :class:`dir.losses.BMC`.
        means: mu, the means of the K components.
        weights: phi, >= 0, with sum 1.
        variances: Sigma, full covariance matrices, in the squared unit of the targets.
        weight: one weight per sample; scales the term of the sample, not the mixture.

    Shape:
        pred, target ``[N]`` or ``[N, D]``, means ``[K, D]``, weights ``[K]``, variances ``[K, D, D]``, weight ``[N]``
        -> a scalar. Half-precision inputs give a float32 loss.

    Raises:
        ValueError: shapes that do not fit, or a sigma (as a number) not above 0.

    Example:
        >>> mixture = torch.tensor([[0.0]]), torch.tensor([1.0]), torch.tensor([[[3.0]]])
        >>> gai(torch.tensor([2.0]), torch.tensor([2.0]), 1.0, *mixture)
        tensor(-2.3863)

    Reference:
        Ren et al., Balanced MSE for Imbalanced Visual Regression, CVPR 2022, Eq. 3.12.
    """
    pred_rows, rows = target_rows(pred, target, weight)
    n, dims = pred_rows.shape
    components = len(weights)
    if (means.shape, weights.shape, variances.shape) != (
        (components, dims),
        (components,),
        (components, dims, dims),
    ):
        problem = f"expected [K, {dims}], [K] and [K, {dims}, {dims}] for {dims} target(s)"
        shapes = [list(means.shape), list(weights.shape), list(variances.shape)]
        raise ValueError(message("means, weights, variances", problem, shapes))
    variance = noise_variance(sigma, pred_rows)
    if n == 0:
        return pred_rows.sum()
    # The power of 2 pi cancels between the two normal densities.
    own = (pred_rows - rows).square().sum(dim=1) / (2 * variance) + 0.5 * dims * variance.log()
    spread = variances.to(pred_rows) + variance * torch.eye(dims, dtype=pred_rows.dtype, device=pred_rows.device)
    log_density = _log_density(pred_rows[:, None] - means.to(pred_rows), spread)
    log_sum = torch.logsumexp(weights.to(pred_rows).log() + log_density, dim=1)
    return scaled_mean(own + log_sum, variance, weight)


def _log_density(deviation: Tensor, covariance: Tensor) -> Tensor:
    """Return the log of normal densities without the power of 2 pi: ``[N, K, D]``, ``[K, D, D]`` -> ``[N, K]``."""
    if deviation.shape[2] == 1:
        flat = covariance.reshape(1, -1)
        return -0.5 * (deviation.squeeze(2).square() / flat + flat.log())
    # cholesky_ex does not check the matrix, which would wait for the device. sigma makes the matrix positive
    # definite.
    factor = torch.linalg.cholesky_ex(covariance).L
    white: Tensor = torch.linalg.solve_triangular(factor, deviation.permute(1, 2, 0), upper=False)
    log_volume = factor.diagonal(dim1=1, dim2=2).log().sum(dim=1)
    log_density: Tensor = -0.5 * white.square().sum(dim=1).T - log_volume
    return log_density


class GAI(NoiseScale):
    """Module of :func:`gai`: fits a mixture to all training targets once, and learns sigma.

    See :class:`dir.losses.BMC` for the choice of sigma and for the effect on the MSE. The loss of a sample does not
    depend on the batch, nor on the number of ranks if each rank fits all training targets.

    Args:
        init_noise_sigma: initial value of sigma, above 0, in the targets' unit.
        learnable: whether sigma is trained.
        num_components: K, the number of components that ``fit`` fits, >= 1.
        ignore_nan: ignore the rows of NaN labels, see :mod:`dir.losses.base`.

    Shape:
        pred, target ``[N]`` or ``[N, D]``, weight ``[N]`` or None -> a scalar.

    State:
        initial_sigma, log_scale: as in BMC. means ``[K, D]``, weights ``[K]``, variances ``[K, D, D]``: float64,
        written by ``fit`` and :meth:`from_mixture`.

    Raises:
        ValueError: shapes that do not fit, bad arguments, or fewer different targets than components.
        RuntimeError: a call before ``fit``.

    Example:
        >>> means, weights, variances = torch.tensor([[0.0], [4.0]]), torch.tensor([0.9, 0.1]), torch.ones(2, 1, 1)
        >>> loss = GAI.from_mixture(means, weights, variances, learnable=False)
        >>> loss(torch.tensor([4.0]), torch.tensor([4.0])) < loss(torch.tensor([0.0]), torch.tensor([0.0]))
        tensor(True)

    Reference:
        Ren et al. 2022, Sec. 3.4; K = 8 for ages. scikit-learn fits the mixture, with a fixed seed.
    """

    fitted_buffers = ("means", "weights", "variances")
    # The mixture is one of all targets together.
    takes_targets = True
    means: Tensor
    weights: Tensor
    variances: Tensor

    def __init__(
        self,
        init_noise_sigma: float = 1.0,
        learnable: bool = True,
        num_components: int = 8,
        ignore_nan: bool = False,
    ) -> None:
        super().__init__(init_noise_sigma, learnable, ignore_nan)
        check_integer("num_components", num_components)
        self.num_components = num_components

    @classmethod
    def from_mixture(
        cls,
        means: Tensor,
        weights: Tensor,
        variances: Tensor,
        init_noise_sigma: float = 1.0,
        learnable: bool = True,
        ignore_nan: bool = False,
    ) -> GAI:
        """Return a GAI with a mixture: means ``[K, D]``, weights ``[K]`` with sum 1, covariances ``[K, D, D]``."""
        for name, value in (("means", means), ("weights", weights), ("variances", variances)):
            check_finite(value, name)
        if bool((weights < 0).any()) or not math.isclose(float(weights.sum()), 1.0, abs_tol=1e-4):
            raise ValueError(message("weights", "expected values >= 0 with sum 1", weights.tolist()))
        made = cls(init_noise_sigma, learnable, len(weights), ignore_nan)
        made.store(means=means, weights=weights, variances=variances)
        return made

    def fit(self, targets: Tensor, bins: LabelBins | None = None) -> GAI:
        """Fit the mixture to all training targets, ``[n]`` or ``[n, D]``; the bins are ignored."""
        from sklearn.mixture import GaussianMixture

        check_finite(targets, "targets")
        rows = targets.detach().cpu().double().numpy().reshape(len(targets), -1)
        different = len(torch.unique(torch.from_numpy(rows), dim=0))
        if different < self.num_components:
            problem = f"expected at most {different}, the number of different targets"
            raise ValueError(message("num_components", problem, self.num_components))
        mixture = GaussianMixture(self.num_components, random_state=0).fit(rows)
        self.store(
            means=torch.from_numpy(mixture.means_),
            weights=torch.from_numpy(mixture.weights_),
            variances=torch.from_numpy(mixture.covariances_),
        )
        return self

    def forward(self, pred: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the loss of ``pred`` against ``target``, see :func:`gai`."""
        self.require_fitted()
        if self.ignore_nan:
            target, pred, weight = labelled_rows(target, pred, weight)
        return gai(pred, target, self.sigma, self.means, self.weights, self.variances, weight)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, num_components={self.num_components}, fitted={self.means.numel() > 0}"
