"""Balanced MSE: the parts that its three forms share, and the batch-based form (BMC)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dir._checks import check_positive, check_same_shape, message
from dir._precision import KeepsPrecision
from dir.losses.base import labelled_rows


def target_rows(pred: Tensor, target: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return predictions and targets as ``[N, D]`` in at least single precision, after the shape check.

    Raises:
        ValueError: pred and target of different shapes, or not ``[N]`` or ``[N, D]``; a weight that is not ``[N]``.
    """
    check_same_shape("pred", pred, "target", target, "Reshape one of them, for example with pred.squeeze(-1).")
    if pred.ndim not in (1, 2):
        raise ValueError(message("pred", "expected [N] or [N, D]", list(pred.shape)))
    n = pred.shape[0]
    if weight is not None and weight.shape not in ((n,), (n, 1)):
        raise ValueError(message("weight", f"expected one weight per sample, [{n}]", list(weight.shape)))
    dtype = torch.promote_types(torch.promote_types(pred.dtype, target.dtype), torch.float32)
    shape = (n, 1) if pred.ndim == 1 else pred.shape
    return pred.to(dtype).reshape(shape), target.to(dtype).reshape(shape)


def noise_variance(sigma: float | Tensor, like: Tensor) -> Tensor:
    """Return ``sigma**2`` on the device and in the type of ``like``.

    A number must be above 0. A tensor is not checked: it may be learned, and a check would wait for the device.
    """
    if not isinstance(sigma, Tensor):
        check_positive("sigma", sigma)
        # Fill on the device: a copy from the host would wait for the device.
        return like.new_full((), float(sigma) ** 2)
    return sigma.to(like).reshape(()).square()


def scaled_mean(likelihood: Tensor, variance: Tensor, weight: Tensor | None) -> Tensor:
    """Return the mean of the negative log-likelihoods ``[N]`` times the detached ``2 sigma^2``, in units of MSE."""
    loss = likelihood * (2 * variance).detach()
    return (loss if weight is None else weight.reshape(-1) * loss).mean()


def bmc(pred: Tensor, target: Tensor, sigma: float | Tensor, weight: Tensor | None = None) -> Tensor:
    r"""Return the Balanced MSE with the targets of the batch as a sample of the training distribution.

    .. math:: \frac{2 \bar\sigma^2}{N} \sum_i w_i \left( -\log
        \frac{\exp(-\lVert \hat y_i - y_i \rVert^2 / 2 \sigma^2)}
             {\sum_j \exp(-\lVert \hat y_i - y_j \rVert^2 / 2 \sigma^2)} \right)

    where the factor with :math:`\bar\sigma` gets no gradient. O(N^2 D) time and memory. 0 for an empty batch, which a
    single rank may have. A batch of one sample is refused: its loss is 0 for every prediction.

    Args:
        pred: predictions.
        target: labels, of pred's shape. On several ranks, the labels of this rank alone.
        sigma: standard deviation of the prediction's noise, above 0, in the targets' unit; see :class:`BMC`.
        weight: one weight per sample; scales the term of the sample, not its share in the sums of other samples.

    Shape:
        pred, target ``[N]`` or ``[N, D]``, weight ``[N]`` -> a scalar. Half-precision inputs give a float32 loss.

    Raises:
        ValueError: shapes that do not fit, a batch of one sample, or a sigma (as a number) not above 0.

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
    if len(pred_rows) == 1:
        advice = (
            "BMC compares each target with the other targets of the batch, so a single sample always has loss 0. "
            "Set drop_last=True in the DataLoader (in the recipes: change data.batch_size), or use GAI or BNI."
        )
        raise ValueError(message("pred", "expected a batch of at least 2 samples", 1, advice))
    own = (pred_rows - rows).square().sum(dim=1)
    all_pairs = (pred_rows[:, None] - rows[None]).square().sum(dim=2)
    log_sum = torch.logsumexp(all_pairs / (-2 * variance), dim=1)
    return scaled_mean(own / (2 * variance) + log_sum, variance, weight)


class NoiseScale(KeepsPrecision):
    r"""Base of the Balanced MSE modules: holds :math:`\sigma`, the standard deviation of the prediction's noise.

    :math:`\sigma = \sigma_0 e^s`, where s starts at 0 and may be learned. Sigma stays positive, a step of the
    optimiser changes it in proportion to its value, and weight decay pulls it to :math:`\sigma_0`.

    Args:
        init_noise_sigma: :math:`\sigma_0`, above 0, in the targets' unit.
        learnable: whether s is trained (give the criterion's parameters to the optimiser).
        ignore_nan: ignore the rows of NaN labels, see :mod:`dir.losses.base`.

    State:
        initial_sigma: ``[1]``, the argument. log_scale: parameter ``[1]``, s.
    """

    # Weights of a reweighter would correct the imbalance twice.
    corrects_imbalance = True
    initial_sigma: Tensor
    # Names of the buffers whose shape is known only after fit().
    fitted_buffers: tuple[str, ...] = ()

    def __init__(self, init_noise_sigma: float = 1.0, learnable: bool = True, ignore_nan: bool = False) -> None:
        super().__init__()
        check_positive("init_noise_sigma", init_noise_sigma)
        self.learnable = learnable
        self.ignore_nan = ignore_nan
        self._init_noise_sigma = float(init_noise_sigma)
        self.register_buffer("initial_sigma", torch.tensor([float(init_noise_sigma)]))
        # One-dimensional, because FSDP takes no scalar parameters.
        self.log_scale = nn.Parameter(torch.zeros(1), requires_grad=learnable)
        for name in self.fitted_buffers:
            self.register_buffer(name, torch.zeros(0, dtype=torch.float64))

    @property
    def sigma(self) -> Tensor:
        """Current standard deviation of the noise, a scalar tensor."""
        return (self.initial_sigma * self.log_scale.exp()).squeeze(0)

    def store(self, **values: Tensor) -> None:
        """Write fitted values into the buffers, on the module's device and in float64."""
        for name, value in values.items():
            setattr(self, name, value.detach().to(self.initial_sigma.device, torch.float64))

    def require_fitted(self) -> None:
        """Raise a RuntimeError if ``fit`` was not called and no fitted state was loaded."""
        if self.fitted_buffers and getattr(self, self.fitted_buffers[0]).numel() == 0:
            raise RuntimeError(f"{type(self).__name__} is not fitted. Call fit(targets, bins) first.")

    def _initial_state(self, name: str) -> Tensor | float:
        return self._init_noise_sigma if name == "initial_sigma" else 0.0

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name in self.fitted_buffers:
            if prefix + name in state_dict:
                setattr(self, name, getattr(self, name).new_empty(state_dict[prefix + name].shape))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        sigma = "on meta" if self.initial_sigma.is_meta else f"{self.initial_sigma.item():g}"
        return f"init_noise_sigma={sigma}, learnable={self.learnable}, ignore_nan={self.ignore_nan}"


class BMC(NoiseScale):
    r"""Module of :func:`bmc`; needs no labels but those of the batch.

    How to choose :math:`\sigma`: it is the expected distance of a prediction from its label, in the targets' unit
    (years, or standardised units). Start with the error (RMSE) of a plain model; learning adapts it. The published
    age models start at 10 years. If sigma is far below the error, the correction fades: GAI and BNI approach the
    squared error, BMC approaches :math:`(\hat y - y)^2 - \min_j (\hat y - y_j)^2`, which is 0 for a prediction that
    is nearer to its own target than to any other. If sigma is as wide as the labels or wider, the loss flattens: BMC
    approaches :math:`2 \hat y (\bar y - y)`, has no curvature, and drives predictions out of the label range.

    A higher overall MSE is expected. The predictions of a plain model lean towards frequent labels, which minimises
    the squared error on data distributed as the training data. Balanced MSE removes this lean: the error on rare
    labels falls, the error on frequent labels rises, and so does the average over a test set as skewed as the
    training set. Judge the model by the error per shot group, or by the balanced error. Do not select models by the
    loss: it is not an MSE (it may be negative for GAI and BNI) and changes with sigma.

    Do not weight or draw the samples by their rarity as well: this would correct the imbalance twice.

    Args:
        init_noise_sigma: initial value of sigma, above 0, in the targets' unit.
        learnable: whether sigma is trained.
        ignore_nan: ignore the rows of NaN labels, see :mod:`dir.losses.base`.
            A batch with a single label left is refused like a batch of one sample.

    Shape:
        pred, target ``[N]`` or ``[N, D]``, weight ``[N]`` or None -> a scalar. Large batches estimate the
        distribution better; on several ranks, each rank uses its own samples.

    State:
        initial_sigma ``[1]``; log_scale, a parameter ``[1]``: ``sigma = initial_sigma * exp(log_scale)``.

    Raises:
        ValueError: shapes that do not fit, a batch of one sample, or an init_noise_sigma not above 0.

    Example:
        >>> loss = BMC(init_noise_sigma=0.5)
        >>> loss(torch.tensor([0.0, 1.0]), torch.tensor([0.0, 1.0]))
        tensor(0.0635, grad_fn=<MeanBackward0>)

    Reference:
        Ren et al. 2022, Sec. 3.4. The paper learns sigma; here its logarithm is learned.
    """

    # One softmax over the batch compares the samples by all their targets, see bmc().
    takes_targets = True

    def forward(self, pred: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the loss of ``pred`` against ``target``, see :func:`bmc`."""
        if self.ignore_nan:
            target, pred, weight = labelled_rows(target, pred, weight)
        return bmc(pred, target, self.sigma, weight)
