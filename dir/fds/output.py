"""OutputFDS: FDS of the predictions or of the labels, as control experiments for FDS of the features."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor, nn

from dir._checks import check_choice, message
from dir._labels import as_mask
from dir._precision import at_least_float32
from dir.fds.layer import FDS

Track = Literal["prediction", "label"]


class OutputFDS(nn.Module):
    r"""Shift each training prediction by the change that FDS makes to the mean of its bin.

    .. math:: \hat y \leftarrow \hat y + \tilde m_b - m_b

    with :math:`m_b` the running mean, in bin b, of the predictions (``track="prediction"``) or of the labels
    (``track="label"``), and :math:`\tilde m_b` its smoothed value. With a linear head, the mean shift of FDS has the
    same effect. The two variants therefore show how much of FDS depends on features: ``"prediction"`` does with one
    number per bin what FDS does with D, and ``"label"`` is a fixed change of the targets,
    :math:`y + (1 - a)(y - S y)`.

    Args:
        fds: an FDS with ``num_features=1`` and ``statistics="mean"``.
        track: ``"prediction"`` or ``"label"``.

    Shape:
        - predictions and targets: ``[N]``, in the units of the criterion.
        - labels: ``[N]``, raw.
        - mask: bool ``[N]``, True for labels that count, such as ``~labels.isnan()``. Labels and targets that do not
          count may be NaN; their predictions stay unchanged.
        - Output: ``[N]``, float32 or wider. In eval mode, or before the first closed epoch, the predictions.

    State:
        The state of ``fds``; call ``end_epoch()`` of ``fds`` after each epoch.

    Raises:
        ValueError: an FDS with more features or with variances; predictions that are not ``[N]``.

    Example:
        >>> from dir.bins import LabelBins
        >>> import torch
        >>> shift = OutputFDS(FDS(1, LabelBins.integers(0, 4), statistics="mean"))
        >>> y = torch.arange(5.0)
        >>> torch.equal(shift(y, y, y), y)  # first epoch: collects
        True

    Reference:
        Ours: controls for claims about the effect of FDS on features.
    """

    def __init__(self, fds: FDS, track: Track = "prediction") -> None:
        super().__init__()
        if fds.num_features != 1 or fds.statistics != "mean":
            raise ValueError(
                message("fds", "expected (num_features=1, statistics='mean')", (fds.num_features, fds.statistics))
            )
        check_choice("track", track, get_args(Track))
        self.fds = fds
        self.track = track

    def forward(self, predictions: Tensor, targets: Tensor, labels: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the shifted predictions; see the class."""
        if predictions.shape != labels.shape or labels.ndim != 1:
            raise ValueError(
                message(
                    "predictions",
                    f"expected [N] like the labels {list(labels.shape)}",
                    list(predictions.shape),
                    "OutputFDS needs a head with one number per sample.",
                )
            )
        tracked = (predictions if self.track == "prediction" else targets).detach()[:, None]
        # In half precision the difference below would consist of rounding errors.
        tracked = at_least_float32(tracked)
        if mask is not None:
            # The target of a label that does not count may be NaN, and so would be its shift.
            mask = as_mask(mask, labels)
            tracked = tracked.masked_fill(~mask[:, None], 0.0)
        shift: Tensor = self.fds(tracked, labels, mask) - tracked
        return predictions + shift.squeeze(1)
