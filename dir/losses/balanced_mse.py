"""Balanced MSE: what its three forms share, and the batch-based one (BMC). GAI and BNI have files of their own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dir._precision import KeepsPrecision
from dir.losses.base import check_positive


def target_rows(pred: Tensor, target: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """Predictions and targets as ``[N, D]`` after the shape check, in single precision or better.

    Raises:
        ValueError: shapes of pred and target that differ or are not ``[N]`` or ``[N, D]``; a weight not ``[N]``.
    """
    if pred.shape != target.shape or pred.ndim not in (1, 2):
        raise ValueError(
            f"pred and target must have the same shape, [N] or [N, D], got pred {list(pred.shape)} and target "
            f"{list(target.shape)}; reshape one of them, for example with pred.squeeze(-1)"
        )
    n = pred.shape[0]
    if weight is not None and weight.shape not in ((n,), (n, 1)):
        raise ValueError(f"weight must have one value per sample, [{n}], got {list(weight.shape)}")
    dtype = torch.promote_types(torch.promote_types(pred.dtype, target.dtype), torch.float32)
    shape = (n, 1) if pred.ndim == 1 else pred.shape
    return pred.to(dtype).reshape(shape), target.to(dtype).reshape(shape)


def noise_variance(sigma: float | Tensor, like: Tensor) -> Tensor:
    """``sigma**2`` on ``like``'s device and in its type; a number is checked, a tensor is not (it may be learned)."""
    if not isinstance(sigma, Tensor):
        check_positive("sigma", sigma)
        # Filled on the device: a copy from the host would wait for it.
        return like.new_full((), float(sigma) ** 2)
    return sigma.to(like).reshape(()).square()


def scaled_mean(likelihood: Tensor, variance: Tensor, weight: Tensor | None) -> Tensor:
    """Mean of the negative log-likelihoods ``[N]`` times ``2 sigma^2``, detached: a loss in the units of MSE."""
    loss = likelihood * (2 * variance).detach()
    return (loss if weight is None else weight.reshape(-1) * loss).mean()


def bmc(pred: Tensor, target: Tensor, sigma: float | Tensor, weight: Tensor | None = None) -> Tensor:
    r"""Balanced MSE with the batch's targets as the sample of the training distribution.

    .. math:: \frac{2 \bar\sigma^2}{N} \sum_i w_i \left( -\log
        \frac{\exp(-\lVert \hat y_i - y_i \rVert^2 / 2 \sigma^2)}
             {\sum_j \exp(-\lVert \hat y_i - y_j \rVert^2 / 2 \sigma^2)} \right)

    where the factor with :math:`\bar\sigma` carries no gradient. O(N^2 D) time and memory. 0 for an empty batch.

    Args:
        pred: predictions.
        target: true values, of pred's shape. On several processes: those of this one alone.
        sigma: deviation of the prediction's noise, above 0, in the targets' unit; see :class:`BMC`.
        weight: one per sample; it scales the sample's term, and leaves the sample in the others' sums as it is.

    Shape:
        pred, target ``[N]`` or ``[N, D]``, weight ``[N]`` -> a scalar. Half-precision inputs give a float32 loss.

    Raises:
        ValueError: shapes that do not fit, a sigma (as a number) not above 0.

    Example:
        >>> bmc(torch.tensor([0.0, 1.0]), torch.tensor([0.0, 1.0]), sigma=1.0)
        tensor(0.9482)

    Reference:
        Ren et al., Balanced MSE for Imbalanced Visual Regression, CVPR 2022, Eq. 3.14 and 3.15.
    """
    pred_rows, rows = target_rows(pred, target, weight)
    variance = noise_variance(sigma, pred_rows)
    if len(pred_rows) == 0:
        return pred_rows.sum()
    own = (pred_rows - rows).square().sum(dim=1)
    all_pairs = (pred_rows[:, None] - rows[None]).square().sum(dim=2)
    log_sum = torch.logsumexp(all_pairs / (-2 * variance), dim=1)
    return scaled_mean(own / (2 * variance) + log_sum, variance, weight)


class NoiseScale(KeepsPrecision):
    r"""Base of the Balanced MSE modules: holds :math:`\sigma`, the deviation of the prediction's noise.

    :math:`\sigma = \sigma_0 e^s` with s learned from 0: it stays positive, an optimiser's step changes it by a share
    of itself, and weight decay draws it to :math:`\sigma_0`.

    Args:
        init_noise_sigma: :math:`\sigma_0`, above 0, in the targets' unit.
        learnable: whether s is trained (give the criterion's parameters to the optimiser).

    State:
        initial_sigma: ``[1]``, as given. log_scale: parameter ``[1]``, s.
    """

    # Weights by rarity would correct it once more.
    corrects_imbalance = True
    initial_sigma: Tensor
    # Buffers whose shape is known only after fit.
    fitted_buffers: tuple[str, ...] = ()

    def __init__(self, init_noise_sigma: float = 1.0, learnable: bool = True) -> None:
        super().__init__()
        check_positive("init_noise_sigma", init_noise_sigma)
        self.learnable = learnable
        self._init_noise_sigma = float(init_noise_sigma)
        self.register_buffer("initial_sigma", torch.tensor([float(init_noise_sigma)]))
        # One-dimensional, because FSDP takes no scalar parameters.
        self.log_scale = nn.Parameter(torch.zeros(1), requires_grad=learnable)
        for name in self.fitted_buffers:
            self.register_buffer(name, torch.zeros(0, dtype=torch.float64))

    @property
    def sigma(self) -> Tensor:
        """The deviation as it is now, a scalar tensor."""
        return (self.initial_sigma * self.log_scale.exp()).squeeze(0)

    def store(self, **values: Tensor) -> None:
        """Put what was fitted into the buffers, on the module's device and in double precision or better."""
        for name, value in values.items():
            setattr(self, name, value.detach().to(self.initial_sigma.device, torch.float64))

    def require_fitted(self) -> None:
        """Raise a RuntimeError where ``fit`` has not been called (and nothing was loaded)."""
        if self.fitted_buffers and getattr(self, self.fitted_buffers[0]).numel() == 0:
            raise RuntimeError(
                f"{type(self).__name__} must be told of the training targets first: call fit(targets, bins)"
            )

    def _initial_state(self, name: str) -> Tensor | float:
        return self._init_noise_sigma if name == "initial_sigma" else 0.0

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name in self.fitted_buffers:
            if prefix + name in state_dict:
                setattr(self, name, getattr(self, name).new_empty(state_dict[prefix + name].shape))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        sigma = "on meta" if self.initial_sigma.is_meta else f"{self.initial_sigma.item():g}"
        return f"init_noise_sigma={sigma}, learnable={self.learnable}"


class BMC(NoiseScale):
    r"""Module of :func:`bmc`; needs to know nothing about the labels but those of the batch.

    Choosing :math:`\sigma`: it is how far predictions are expected to lie from the truth, in the targets' own unit
    (years, or standardised units). Start with the error (RMSE) of a plain model; learning moves it from there. The
    published age models start at 10 years. With a sigma far below the error the correction fades: GAI and BNI come
    down to the squared error, BMC to :math:`(\hat y - y)^2 - \min_j (\hat y - y_j)^2`, which is 0 for a prediction
    that is nearer to its own target than to any other. With one as wide as the labels or wider the loss flattens: BMC
    tends to :math:`2 \hat y (\bar y - y)`, without curvature, and drives predictions out of the label range.

    "My MSE went up": that is what it does. A prediction of a plain model leans towards frequent labels, and this is
    what makes its squared error on data like the training data the least possible. Balanced MSE takes the lean out:
    the error on rare labels falls, that on frequent ones rises, and so does an average over a test set as skewed as
    the training set. Judge it by the error per shot group, or by the balanced error. The loss itself is no MSE
    either (it may be negative for GAI and BNI, and moves with sigma): do not select models by it.

    Where samples are weighted by their rarity as well, or drawn by it, the imbalance is corrected twice.

    Args:
        init_noise_sigma: where sigma starts, above 0, in the targets' unit.
        learnable: whether sigma is trained.

    Shape:
        pred, target ``[N]`` or ``[N, D]``, weight ``[N]`` or None -> a scalar. Large batches tell more about the
        distribution; on several processes each sees its own samples alone.

    State:
        initial_sigma ``[1]``; log_scale, a parameter ``[1]``: ``sigma = initial_sigma * exp(log_scale)``.

    Raises:
        ValueError: shapes that do not fit, an init_noise_sigma not above 0.

    Example:
        >>> loss = BMC(init_noise_sigma=0.5)
        >>> loss(torch.tensor([0.0, 1.0]), torch.tensor([0.0, 1.0]))
        tensor(0.0635, grad_fn=<MeanBackward0>)

    Reference:
        Ren et al. 2022, Sec. 3.4. They learn sigma itself; here its logarithm is learned.
    """

    def forward(self, pred: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """The loss of ``pred`` against ``target``, see :func:`bmc`."""
        return bmc(pred, target, self.sigma, weight)
