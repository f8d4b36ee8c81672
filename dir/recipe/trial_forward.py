"""Check that the built parts of a run fit each other, by a trial forward on two samples and by the labels."""

from __future__ import annotations

import torch
from lightning import Trainer
from omegaconf import DictConfig
from torch import Tensor

from dir._checks import message
from dir.data.base import RegressionData
from dir.data.maps import MapData
from dir.losses import BNI
from dir.models import ClassificationHead, PriorHead
from dir.models.members import MemberHead, MemberLoss
from dir.recipe.map_methods import check_maps
from dir.recipe.module import RegressionModule


def check_parts(cfg: DictConfig, module: RegressionModule, data: RegressionData) -> None:
    """Raise a ValueError for parts of a method that do not fit each other, by a trial forward on two samples.

    The trial tells lazy parts the number of features. Weights, modes and the random state stay as they are.
    """
    model, criterion = module.model, module.criterion
    own_loss = criterion.criterion if isinstance(criterion, MemberLoss) else criterion
    if module.lds is not None and getattr(criterion, "corrects_imbalance", False):
        problem = f"{type(own_loss).__name__} already corrects the imbalance, and weights would correct it twice"
        raise ValueError(message("method.lds", problem, advice="Set method.lds=null or choose another method.loss."))
    wanted, size = getattr(model.encoder, "image_size", None), getattr(data, "image_size", None)
    if wanted is not None and size is not None and wanted != (size, size):
        advice = f"Set data.image_size={wanted[0]}, or choose another model.name."
        problem = f"the model takes pictures of {wanted[0]} x {wanted[1]} pixels"
        raise ValueError(message("data.image_size", problem, size, advice))
    if isinstance(data, MapData):
        check_maps(module, data)
    labels = data.label_chunks("train").first(2)
    target = module.to_target(labels)
    head_training = model.head.training
    model.head.eval()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        features = torch.zeros(len(labels), model.num_features)
        output = model.decode(features)
        # One number per sample, or per member of a sample.
        single = output.ndim == (2 if isinstance(model.head, MemberHead) else 1)
        if module.output_fds is not None and not single:
            problem = "method.output_fds shifts one number per sample, but method.head gives more"
            raise ValueError(message("method.output_fds", problem, list(output.shape[1:]), "Choose another head."))
        if cfg.method.posthoc is not None and model.variance(output) is not None:
            problem = "a correction of predictions cannot correct the variances that method.head gives"
            advice = "Set method.posthoc=null or choose another method.head."
            raise ValueError(message("method.posthoc", problem, cfg.method.posthoc, advice))
        try:
            criterion(output, target, weight=None if module.lds is None else module.lds(labels))
        except ValueError as error:
            raise ValueError(f"method.loss does not fit method.head: {error}") from error
        for regularizer in module.regularizers:
            regularizer(features, target, model.predict(output))
    model.head.train(head_training)
    if module.mixup is not None:
        inputs = data.dataset("train")[0][0]
        for part in inputs if isinstance(inputs, tuple) else (inputs,):
            if not part.is_floating_point():
                advice = "Choose another method, or data with floating-point inputs."
                problem = "inputs of this type (such as token ids, or codes of categories) cannot be mixed"
                raise ValueError(message("method.mixup", problem, part.dtype, advice))


def check_log_target(module: RegressionModule, labels: Tensor) -> None:
    """Raise a ValueError for parts that cannot work on log(1 + label), and for labels without this logarithm.

    Args:
        module: module whose target is the logarithm.
        labels: raw labels that the module trains on, after resampling.
    """
    head, criterion = module.model.head, module.criterion
    head = head.head if isinstance(head, MemberHead) else head
    head = head.head if isinstance(head, PriorHead) else head
    criterion = criterion.criterion if isinstance(criterion, MemberLoss) else criterion
    for key, part, kind in (("method.head", head, ClassificationHead), ("method.loss", criterion, BNI)):
        if isinstance(part, kind):
            # A wide bin near 0 spans several units of the logarithm, and its centre lies far below its labels.
            problem = (
                f"{key}={type(part).__name__} stands for labels by the centres of their bins, which log1p displaces"
            )
            advice = "Set data.log_target=false, or choose another method, such as histogram or gai."
            raise ValueError(message("data.log_target", problem, True, advice))
    if bool((labels <= -1).any()):
        count = int((labels <= -1).sum())
        problem = f"{count} of {len(labels)} training labels have no log(1 + label) after resampling, the lowest"
        advice = "Set data.log_target=false, or choose another method."
        raise ValueError(message("data.log_target", problem, labels.min().item(), advice))


def check_float64_labels(trainer: Trainer) -> None:
    """Raise a ValueError for a trainer that would narrow float64 labels or the offset of the target."""
    advice = "Choose another one, or shift the labels in the file by a constant."
    device = trainer.strategy.root_device.type
    if device == "mps":
        raise ValueError(
            message("trainer.accelerator", "the labels need float64, which the device lacks", device, advice)
        )
    precision = str(trainer.precision)
    sharded = "fsdp" in type(trainer.strategy).__name__.lower()
    if precision not in ("32-true", "64-true") and (sharded or not precision.endswith("-mixed")):
        raise ValueError(
            message("trainer.precision", "the labels need float64, and it narrows them", precision, advice)
        )
