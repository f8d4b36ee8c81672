"""FDS with one number per sample, on the predictions or on the labels: the controls of feature smoothing."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from dir.fds.layer import FDS

Track = Literal["prediction", "label"]


class OutputFDS(nn.Module):
    r"""Shift each training prediction by what FDS would do to the mean of its bin.

    .. math:: \hat y \leftarrow \hat y + \tilde m_b - m_b

    with :math:`m_b` the running mean, in bin b, of the predictions (``track="prediction"``) or of the labels
    (``track="label"``), and :math:`\tilde m_b` its smoothed value. With a linear head the mean shift of FDS does this
    and no more, so that these two tell how much of FDS needs features: tracking predictions does with one number per
    bin what FDS does with D, tracking labels is a fixed change of the targets, :math:`y + (1 - a)(y - S y)`.

    Args:
        fds: with ``num_features=1`` and ``statistics="mean"``.
        track: "prediction" or "label".

    Shape:
        predictions ``[N]``, targets ``[N]`` (both in the criterion's units), labels ``[N]`` (raw) -> ``[N]``, of
        float32 or wider. In eval mode, or before the first closed epoch, the predictions as they are.

    State:
        that of ``fds``, whose ``end_epoch()`` closes each epoch.

    Raises:
        ValueError: an FDS of more features, or with variances; predictions that are not ``[N]``.

    Example:
        >>> from dir.bins import LabelBins
        >>> shift = OutputFDS(FDS(1, LabelBins.integers(0, 4), statistics="mean"))
        >>> y = torch.arange(5.0)
        >>> torch.equal(shift(y, y, y), y)  # first epoch: collects
        True

    Reference:
        Ours; the controls that a claim about features has to beat.
    """

    def __init__(self, fds: FDS, track: Track = "prediction") -> None:
        super().__init__()
        if fds.num_features != 1 or fds.statistics != "mean":
            raise ValueError(
                "fds must have num_features=1 and statistics='mean', got "
                f"num_features={fds.num_features} and statistics={fds.statistics!r}"
            )
        if track not in get_args(Track):
            raise ValueError(f"track must be 'prediction' or 'label', got {track!r}")
        self.fds = fds
        self.track = track

    def forward(self, predictions: Tensor, targets: Tensor, labels: Tensor) -> Tensor:
        """The shifted predictions."""
        if predictions.shape != labels.shape or labels.ndim != 1:
            raise ValueError(
                f"predictions must be [N] as labels are, got {list(predictions.shape)} and {list(labels.shape)}; "
                "only heads with one number per sample can be shifted"
            )
        tracked = (predictions if self.track == "prediction" else targets).detach()[:, None]
        # In half precision the difference of the two would be rounding.
        tracked = tracked.to(torch.promote_types(tracked.dtype, torch.float32))
        shift: Tensor = self.fds(tracked, labels) - tracked
        return predictions + shift.squeeze(1)
