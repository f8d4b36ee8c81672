"""UVOTE: experts trained on the same samples, each weighted by a different power of the inverse label frequency."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from dir._checks import check_choice, check_same_shape, message
from dir._precision import KeepsPrecision
from dir.bins import LabelBins
from dir.losses.base import labelled_rows, mean_or_zero

Noise = Literal["gaussian", "laplace"]


def expert_weights(counts: Tensor, num_experts: int) -> Tensor:
    r"""Return the weight of a sample in bin b for expert k, with mean 1 over the counted samples.

    .. math:: w_{kb} \propto n_b^{-p_k}, \qquad p_k = k / (K - 1), \quad k = 0, \dots, K - 1

    The first expert has equal weights, the last has inverse frequencies. An empty bin counts as one sample.

    Shape:
        counts ``[B]`` -> ``[K, B]``, of the counts' floating type.

    Example:
        >>> expert_weights(torch.tensor([1.0, 4.0]), 3)
        tensor([[1.0000, 1.0000],
                [1.6667, 0.8333],
                [2.5000, 0.6250]])

    Reference:
        Jiang et al., GCPR 2024. The frequencies are a histogram over the label bins. The mean of 1 is ours.
    """
    power = torch.linspace(0, 1, num_experts, dtype=counts.dtype, device=counts.device)
    raw = counts.clamp(min=1)[None, :].pow(-power[:, None])
    return raw * counts.sum() / (raw * counts[None, :]).sum(dim=1, keepdim=True)


def expert_nll(output: Tensor, target: Tensor, weight: Tensor | None = None, noise: Noise = "gaussian") -> Tensor:
    r"""Return the weighted negative log-likelihood of means and log-variances, averaged over samples and experts.

    .. math::
        \tfrac12 \left(s + (y - \mu)^2 e^{-s} + \log 2\pi\right) \;\text{ or }\;
        \tfrac12 (s + \log 2) + \sqrt 2 \, |y - \mu| \, e^{-s / 2}

    for Gaussian and for Laplace noise of variance :math:`e^s`.

    Args:
        output: mean and log-variance of each expert.
        target: labels.
        weight: one weight per sample and expert; None means 1.
        noise: "gaussian" or "laplace".

    Shape:
        output ``[N, K, 2]``, target ``[N]``, weight ``[N, K]`` -> a scalar. Half precision gives a float32 loss.

    Raises:
        ValueError: shapes that do not fit, or an unknown noise.

    Example:
        >>> expert_nll(torch.tensor([[[1.0, 0.0]]]), torch.tensor([1.0]))
        tensor(0.9189)

    Reference:
        Jiang et al., GCPR 2024. Ours: the mean over the experts instead of the sum, so that the scale does not depend
        on K.
    """
    check_choice("noise", noise, get_args(Noise))
    if output.ndim != 3 or output.shape[2] != 2 or target.shape != output.shape[:1]:
        raise ValueError(message("output, target", "expected [N, K, 2] and [N]", _shapes(output, target)))
    if weight is not None:
        check_same_shape("weight", weight, "output[:, :, 0]", output[..., 0])
    dtype = torch.promote_types(torch.promote_types(output.dtype, target.dtype), torch.float32)
    mean, log_variance = output.to(dtype).unbind(dim=2)
    error = target.to(dtype)[:, None] - mean
    if noise == "gaussian":
        nll = 0.5 * (log_variance + error.square() * (-log_variance).exp() + math.log(2 * math.pi))
    else:
        nll = 0.5 * (log_variance + math.log(2)) + math.sqrt(2) * error.abs() * (-0.5 * log_variance).exp()
    return mean_or_zero(nll if weight is None else weight * nll)


def _shapes(output: Tensor, target: Tensor) -> list[list[int]]:
    return [list(output.shape), list(target.shape)]


class UVOTE(KeepsPrecision):
    """:func:`expert_nll` with :func:`expert_weights`, for an ``ExpertsHead``.

    Weights given to the call (such as ``lds(labels)``) multiply the weights of each expert. The recipes refuse to
    combine the two. The loss of a sample does not depend on the batch or on the number of ranks.

    Args:
        noise: "gaussian" (similar to a squared error) or "laplace" (similar to an absolute error).
        ignore_nan: ignore the rows of NaN labels, see :mod:`dir.losses.base`.

    Shape:
        output ``[N, K, 2]``, target ``[N]``, weight ``[N]`` or None -> a scalar.

    State:
        counts: float64 ``[B]``, training targets per bin, written by ``fit``. Call ``fit`` before
        ``load_state_dict``: it sets the number of bins.

    Raises:
        ValueError: shapes that do not fit, or an unknown noise.
        RuntimeError: a call before ``fit``.

    Example:
        >>> loss = UVOTE().fit(torch.tensor([0.0, 0.0, 3.0]), LabelBins.integers(0, 3))
        >>> loss(torch.zeros(2, 3, 2), torch.tensor([0.0, 3.0])).shape
        torch.Size([])

    Reference:
        Jiang et al., Uncertainty Voting Ensemble for Imbalanced Deep Regression, GCPR 2024.
    """

    # The weights of the experts correct the imbalance. Weights of a reweighter would correct it twice.
    corrects_imbalance = True
    counts: Tensor

    def __init__(self, noise: Noise = "gaussian", ignore_nan: bool = False) -> None:
        super().__init__()
        check_choice("noise", noise, get_args(Noise))
        self.noise: Noise = noise
        self.ignore_nan = ignore_nan
        self.bins: LabelBins | None = None

    def fit(self, targets: Tensor, bins: LabelBins) -> UVOTE:
        """Count the training targets ``[N]`` per bin."""
        counts = bins.counts(targets).double()
        if not bool(counts.sum() > 0):
            raise ValueError(message("targets", "expected at least one value inside the bins, found none"))
        self.bins = bins
        self.register_buffer("counts", counts)
        return self

    def forward(self, output: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the weighted mean over samples and experts."""
        if self.bins is None:
            raise RuntimeError("UVOTE is not fitted. Call fit(targets, bins) first.")
        if self.ignore_nan:
            target, output, weight = labelled_rows(target, output, weight)
        if output.ndim != 3 or target.ndim != 1:
            raise ValueError(message("output, target", "expected [N, K, 2] and [N]", _shapes(output, target)))
        if weight is not None:
            check_same_shape("weight", weight, "target", target, "Give one weight per sample.")
        table = expert_weights(self.counts, output.shape[1])
        # Samples outside the bins have weight 1.
        table = torch.cat([table, torch.ones_like(table[:, :1])], dim=1)
        own = table.T.index_select(0, self.bins(target)).to(torch.promote_types(target.dtype, torch.float32))
        return expert_nll(output, target, own if weight is None else own * weight[:, None], self.noise)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        if self.bins is None:
            raise RuntimeError("UVOTE is not fitted. Call fit(targets, bins) first.")
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        return f"noise={self.noise!r}, ignore_nan={self.ignore_nan}"
