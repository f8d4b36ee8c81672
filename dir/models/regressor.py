"""The model of the recipes: encoder -> FDS -> head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

from torch import Tensor, nn

from dir.fds import FDS
from dir.models.heads import Head

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11 on


class Step(NamedTuple):
    """Outputs of a model in a training step: the raw features ``[N, D]`` and the output of the head."""

    features: Tensor
    output: Tensor


class Regressor(nn.Module):
    r"""Predicts one number per sample: ``head(fds(encoder(inputs), labels))``.

    FDS acts in training and only where labels are given; without it, in eval mode or without labels the
    model is ``head(encoder(inputs))``.

    Args:
        encoder: module with an int attribute ``num_features``; maps inputs to features [N, num_features].
        head: maps features [N, num_features] to [N, 1] or [N], or a :class:`~dir.models.heads.Head`.
        fds: feature distribution smoothing with the same ``num_features``, or None.

    Shape:
        - inputs: the input of the encoder (a tensor or a tuple of tensors, first dimension N)
        - labels: [N], raw units
        - output: [N], or the shape of the head's output

    Raises:
        ValueError: if ``fds`` and ``encoder`` disagree about the number of features.

    Example:
        >>> import torch
        >>> encoder = torch.nn.Linear(3, 8)
        >>> encoder.num_features = 8
        >>> Regressor(encoder, torch.nn.Linear(8, 1))(torch.zeros(5, 3)).shape
        torch.Size([5])

    Reference:
        Yang et al., Delving into Deep Imbalanced Regression, ICML 2021, section 3.2: FDS stands before the
        last linear layer.
    """

    def __init__(self, encoder: nn.Module, head: nn.Module, fds: FDS | None = None) -> None:
        super().__init__()
        self.num_features = cast("int", encoder.num_features)
        if fds is not None and fds.num_features != self.num_features:
            raise ValueError(
                f"fds.num_features: expected {self.num_features} as the encoder has, got {fds.num_features}"
            )
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
        """The head's output."""
        return self.step(inputs, labels).output

    def step(self, inputs: Any, labels: Tensor | None = None) -> Step:
        """The features before FDS as well as the head's output."""
        features = self.encoder(inputs)
        calibrated = features if self.fds is None else self.fds(features, labels)
        return Step(features, self.decode(calibrated))

    def decode(self, features: Tensor) -> Tensor:
        """The head's output for features [N, num_features] that went through FDS, if there is one."""
        output: Tensor = self.head(features)
        return output.squeeze(-1) if output.ndim == 2 and output.shape[1] == 1 else output

    def predict(self, output: Tensor) -> Tensor:
        """One number per sample, [N], from the head's output."""
        return self.head.predict(output) if isinstance(self.head, Head) else output

    def variance(self, output: Tensor) -> Tensor | None:
        """The predicted variance of the label, [N], where the head gives one."""
        return self.head.variance(output) if isinstance(self.head, Head) else None
