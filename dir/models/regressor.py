"""Model of the recipes: encoder -> FDS -> head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

from torch import Tensor, nn

from dir._checks import message
from dir.fds import FDS
from dir.models.heads import Head
from dir.models.targets import TargetFDS

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11 on


class Step(NamedTuple):
    """Outputs of a model in a training step: the raw features ``[N, D]`` and the output of the head."""

    features: Tensor
    output: Tensor


class Regressor(nn.Module):
    r"""Predict one number per sample: ``head(fds(encoder(inputs), labels))``.

    FDS calibrates the features in training mode if labels are given. In eval mode, without labels or without FDS, the
    model is ``head(encoder(inputs))``.

    Args:
        encoder: module with an int attribute ``num_features``; maps inputs to features [N, num_features].
        head: maps features [N, num_features] to [N, 1] or [N], or a :class:`~dir.models.heads.Head`.
        fds: feature distribution smoothing with the same ``num_features``, or None. With a
            :class:`~dir.models.TargetFDS` the head is a :class:`~dir.models.TargetHeads`.

    Shape:
        - inputs: the input of the encoder (a tensor or a tuple of tensors, first dimension N)
        - labels: [N], raw units, or [N, K] of K targets
        - output: [N], or the shape of the head's output, [N, K] of K targets

    Raises:
        ValueError: ``fds`` and ``encoder`` with different numbers of features.

    Example:
        >>> import torch
        >>> encoder = torch.nn.Linear(3, 8)
        >>> encoder.num_features = 8
        >>> Regressor(encoder, torch.nn.Linear(8, 1))(torch.zeros(5, 3)).shape
        torch.Size([5])

    Reference:
        Yang et al., Delving into Deep Imbalanced Regression, ICML 2021, section 3.2: FDS is applied before
        the last linear layer.
    """

    def __init__(self, encoder: nn.Module, head: nn.Module, fds: FDS | TargetFDS | None = None) -> None:
        super().__init__()
        self.num_features = cast("int", encoder.num_features)
        if fds is not None and fds.num_features != self.num_features:
            problem = f"expected {self.num_features}, the number of features of the encoder"
            raise ValueError(message("fds.num_features", problem, fds.num_features))
        self._encoder_frozen = False
        self.encoder = encoder
        self.fds = fds
        self.head = head

    def freeze_encoder(self) -> None:
        """Freeze the encoder: no gradients, and eval mode in every mode of the model.

        Batch norm then keeps its running statistics, and dropout is off.
        """
        self.encoder.requires_grad_(False)
        self._encoder_frozen = True
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self._encoder_frozen:
            self.encoder.eval()
        return self

    def forward(self, inputs: Any, labels: Tensor | None = None) -> Tensor:
        """Return the output of the head."""
        return self.step(inputs, labels).output

    def step(self, inputs: Any, labels: Tensor | None = None) -> Step:
        """Return the features before FDS and the output of the head."""
        features = self.encoder(inputs)
        calibrated = features if self.fds is None else self.fds(features, labels)
        return Step(features, self.decode(calibrated))

    def decode(self, features: Tensor) -> Tensor:
        """Return the output of the head for features [N, num_features], after FDS if the model has FDS."""
        output: Tensor = self.head(features)
        return output.squeeze(-1) if output.ndim == 2 and output.shape[1] == 1 else output

    def predict(self, output: Tensor) -> Tensor:
        """Return the predictions [N] from the output of the head."""
        return self.head.predict(output) if isinstance(self.head, Head) else output

    def variance(self, output: Tensor) -> Tensor | None:
        """Return the predicted variances [N] of the labels, or None if the head predicts none."""
        return self.head.variance(output) if isinstance(self.head, Head) else None
