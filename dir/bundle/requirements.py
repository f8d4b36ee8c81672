"""The packages that a bundle needs to predict."""

from __future__ import annotations

from importlib import metadata

from dir.bundle.inputs.images import ImageInputs
from dir.bundle.inputs.texts import TextInputs
from dir.bundle.model import Model


def requirements(model: Model) -> list[str]:
    """Return the packages that a loaded bundle needs, with the installed versions."""
    names = ["torch", "numpy", "pandas"]
    if model.estimator is not None:
        names += ["scikit-learn", "skops"]
    if isinstance(model.encoder, ImageInputs):
        names += ["pillow", "torchvision"]
    if isinstance(model.encoder, TextInputs):
        names.append("transformers")
    own = f"deep-imbalanced-regression[bundle]=={metadata.version('deep-imbalanced-regression')}"
    return [own, *(f"{name}=={metadata.version(name)}" for name in names)]
