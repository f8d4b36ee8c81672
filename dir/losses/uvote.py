"""UVOTE: experts trained on the same samples, each with another power of the inverse frequency as weight."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from dir._precision import KeepsPrecision
from dir.bins import LabelBins
from dir.losses.base import mean_or_zero

Noise = Literal["gaussian", "laplace"]


def expert_weights(counts: Tensor, num_experts: int) -> Tensor:
    r"""Weight of a sample in bin b for expert k, with mean one over the counted samples.

    .. math:: w_{kb} \propto n_b^{-p_k}, \qquad p_k = k / (K - 1), \quad k = 0, \dots, K - 1

    from the plain mean of the first expert to inverse frequencies for the last. An empty bin counts as one sample.

    Shape:
        counts ``[B]`` -> ``[K, B]``, of the counts' floating type.

    Example:
        >>> expert_weights(torch.tensor([1.0, 4.0]), 3)
        tensor([[1.0000, 1.0000],
                [1.6667, 0.8333],
                [2.5000, 0.6250]])

    Reference:
        Jiang et al., GCPR 2024. The frequencies are a histogram over the label bins; the mean of one is ours.
    """
    power = torch.linspace(0, 1, num_experts, dtype=counts.dtype, device=counts.device)
    raw = counts.clamp(min=1)[None, :].pow(-power[:, None])
    return raw * counts.sum() / (raw * counts[None, :]).sum(dim=1, keepdim=True)


def expert_nll(output: Tensor, target: Tensor, weight: Tensor | None = None, noise: Noise = "gaussian") -> Tensor:
    r"""Weighted negative log-likelihood of mean and log-variance, averaged over samples and experts.

    .. math::
        \tfrac12 \left(s + (y - \mu)^2 e^{-s} + \log 2\pi\right) \;\text{ or }\;
        \tfrac12 (s + \log 2) + \sqrt 2 \, |y - \mu| \, e^{-s / 2}

    for Gaussian and for Laplace noise of variance :math:`e^s`.

    Args:
        output: mean and log-variance of every expert.
        target: true values.
        weight: one per sample and expert; None means 1.
        noise: "gaussian" or "laplace".

    Shape:
        output ``[N, K, 2]``, target ``[N]``, weight ``[N, K]`` -> a scalar. Half precision gives a float32 loss.

    Raises:
        ValueError: shapes that do not fit, an unknown noise.

    Example:
        >>> expert_nll(torch.tensor([[[1.0, 0.0]]]), torch.tensor([1.0]))
        tensor(0.9189)

    Reference:
        Jiang et al., GCPR 2024. The mean over experts, for their sum, is ours: the scale does not depend on K.
    """
    if noise not in get_args(Noise):
        raise ValueError(f"noise must be 'gaussian' or 'laplace', got {noise!r}")
    if output.ndim != 3 or output.shape[2] != 2 or target.shape != output.shape[:1]:
        raise ValueError(
            f"output must be [N, K, 2] with target [N], got {list(output.shape)} and {list(target.shape)}"
        )
    if weight is not None and weight.shape != output.shape[:2]:
        raise ValueError(f"weight must be {list(output.shape[:2])}, got {list(weight.shape)}")
    dtype = torch.promote_types(torch.promote_types(output.dtype, target.dtype), torch.float32)
    mean, log_variance = output.to(dtype).unbind(dim=2)
    error = target.to(dtype)[:, None] - mean
    if noise == "gaussian":
        nll = 0.5 * (log_variance + error.square() * (-log_variance).exp() + math.log(2 * math.pi))
    else:
        nll = 0.5 * (log_variance + math.log(2)) + math.sqrt(2) * error.abs() * (-0.5 * log_variance).exp()
    return mean_or_zero(nll if weight is None else weight * nll)


class UVOTE(KeepsPrecision):
    """:func:`expert_nll` with :func:`expert_weights`, for an ``ExpertsHead``.

    Weights given to the call (such as ``lds(labels)``) act on every expert, on top of its own; the recipes refuse
    both. A sample's loss does not depend on the batch, nor on the number of processes.

    Args:
        noise: "gaussian" (as a squared error) or "laplace" (as an absolute one).

    Shape:
        output ``[N, K, 2]``, target ``[N]``, weight ``[N]`` or None -> a scalar.

    State:
        counts: float64 ``[B]``, training targets per bin, written by ``fit`` (which comes before
        ``load_state_dict``: the number of bins is known from it).

    Raises:
        ValueError: shapes that do not fit, an unknown noise.
        RuntimeError: a call before ``fit``.

    Example:
        >>> loss = UVOTE().fit(torch.tensor([0.0, 0.0, 3.0]), LabelBins.integers(0, 3))
        >>> loss(torch.zeros(2, 3, 2), torch.tensor([0.0, 3.0])).shape
        torch.Size([])

    Reference:
        Jiang et al., Uncertainty Voting Ensemble for Imbalanced Deep Regression, GCPR 2024.
    """

    # By the experts' own weights; others would come on top.
    corrects_imbalance = True
    counts: Tensor

    def __init__(self, noise: Noise = "gaussian") -> None:
        super().__init__()
        if noise not in get_args(Noise):
            raise ValueError(f"noise must be 'gaussian' or 'laplace', got {noise!r}")
        self.noise: Noise = noise
        self.bins: LabelBins | None = None

    def fit(self, targets: Tensor, bins: LabelBins) -> UVOTE:
        """Count the targets per bin."""
        counts = bins.counts(targets).double()
        if not bool(counts.sum() > 0):
            raise ValueError("targets must hold at least one value inside the bins, got none")
        self.bins = bins
        self.register_buffer("counts", counts)
        return self

    def forward(self, output: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """The weighted mean over samples and experts."""
        if self.bins is None:
            raise RuntimeError("UVOTE must be told of the training labels first: call fit(targets, bins)")
        if output.ndim != 3 or target.ndim != 1:
            raise ValueError(
                f"output must be [N, K, 2] with target [N], got {list(output.shape)} and {list(target.shape)}"
            )
        if weight is not None and weight.shape != target.shape:
            raise ValueError(f"weight must be {list(target.shape)}, one per sample, got {list(weight.shape)}")
        table = expert_weights(self.counts, output.shape[1])
        # Samples outside the bins weigh 1.
        table = torch.cat([table, torch.ones_like(table[:, :1])], dim=1)
        own = table.T.index_select(0, self.bins(target)).to(torch.promote_types(target.dtype, torch.float32))
        return expert_nll(output, target, own if weight is None else own * weight[:, None], self.noise)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        if self.bins is None:
            raise RuntimeError("fit(targets, bins) must come before load_state_dict")
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        return f"noise={self.noise!r}"
