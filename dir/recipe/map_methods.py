"""Refusal of the methods that cannot work on maps, where each sample is a pixel."""

from __future__ import annotations

from dir._checks import message
from dir.data.maps import MapData
from dir.losses import BMC
from dir.models import DistributionHead
from dir.recipe.module import RegressionModule

# A method that compares each label of a batch with each other needs a matrix of this side at most: 64 MB in float32.
MAX_PAIRED = 4096


def check_maps(module: RegressionModule, data: MapData) -> None:
    """Raise a ValueError for a part of a method that cannot work on the pixels of maps.

    Raises:
        ValueError: a method that mixes pictures; one that compares all pairs of labels in a batch with too many
            pixels; one whose predicted distribution of each pixel a run would store.
    """
    if module.mixup is not None:
        advice = "Choose a method without mixup for maps."
        raise ValueError(message("method.mixup", "two maps have no distance between labels to mix by", advice=advice))
    if isinstance(module.model.head, DistributionHead):
        kind = type(module.model.head).__name__
        problem = f"a run stores the distribution of each sample, and {kind} would give one for each pixel"
        advice = "Choose a method that predicts a number, such as lds, fds or gai."
        raise ValueError(message("method.head", problem, advice=advice))
    paired = ["method.loss"] if isinstance(module.criterion, BMC) else []
    paired += ["regularizer"] if len(module.regularizers) else []
    height, width = data.encoder_args()["map_size"]
    pixels = data.batch_size * min(data.pixels or height * width, height * width)
    if paired and pixels > MAX_PAIRED:
        problem = f"this method compares all pairs of labels in a batch, of up to {pixels} pixels"
        most = max(1, MAX_PAIRED // data.batch_size)
        advice = f"Set data.pixels={most} with data.batch_size={data.batch_size}, or choose method=gai or lds."
        raise ValueError(message(paired[0], problem, advice=advice))
