"""Writing of a bundle: into a folder beside its place, which then takes the place in one step."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import safetensors.torch

from dir._checks import message
from dir.bundle.architecture import describe, state
from dir.bundle.description import DESCRIPTION, ESTIMATOR, TOKENIZER, WEIGHTS, BundleError, Description
from dir.models.regressor import Regressor


def save(folder: str | Path, model: Any, description: Description, tokenizer: Any = None) -> Path:
    """Save a trained model as a bundle.

    Args:
        folder: the bundle, such as ``run/model``; a bundle that is there already is replaced.
        model: a :class:`~dir.models.Regressor`, or a fitted scikit-learn regressor that predicts raw labels.
        description: how inputs are encoded and what the outputs mean.
        tokenizer: transformers tokenizer of inputs that are tokens; None (default) for all others.

    Returns:
        The folder.

    Raises:
        BundleError: the folder holds other files, or a part that a bundle cannot keep.
        OSError: the bundle could not be written; the old bundle is still there.

    Example:
        >>> from dir.models import LinearHead, MLPEncoder
        >>> from dir import LabelBins
        >>> from dir.bundle.description import bins_to_dict
        >>> regressor = Regressor(MLPEncoder(3, [8]), LinearHead(8))
        >>> about = Description(
        ...     input={"kind": "arrays"},
        ...     target={"name": "price", "unit": "euro", "offset": 250.0, "scale": 80.0},
        ...     architecture={
        ...         "encoder": {"_target_": "dir.models.MLPEncoder", "in_features": 3, "hidden": [8]},
        ...         "head": {"_target_": "dir.models.LinearHead"},
        ...     },
        ...     head_bins=bins_to_dict(LabelBins.uniform(-3, 3, 10)),
        ... )
        >>> folder = save(getfixture("tmp_path") / "model", regressor, about)
        >>> sorted(path.name for path in folder.iterdir())
        ['model.json', 'weights.safetensors']
    """
    folder = Path(folder)
    if folder.exists() and not (folder.is_dir() and _is_bundle(folder)):
        raise BundleError(message(str(folder), "the folder holds other files", advice="Choose another folder."))
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        files = _write_model(partial, model)
        if isinstance(model, Regressor):
            description = _with_architecture(description, model)
        if tokenizer is not None:
            tokenizer.save_pretrained(partial / TOKENIZER)
            files[TOKENIZER] = tokenizer_hashes(partial / TOKENIZER)
        _write(partial / DESCRIPTION, description.to_bytes(files))
        _replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def tokenizer_hashes(folder: Path) -> dict[str, str]:
    """Return the hash of each file of a saved tokenizer."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def _write_model(folder: Path, model: Any) -> dict[str, Any]:
    if isinstance(model, Regressor):
        content = safetensors.torch.save(state(model))
        _write(folder / WEIGHTS, content)
        return {WEIGHTS: {"sha256": hashlib.sha256(content).hexdigest()}}
    from dir.bundle.estimators import dump

    content, trusted = dump(model)
    _write(folder / ESTIMATOR, content)
    return {ESTIMATOR: {"sha256": hashlib.sha256(content).hexdigest(), "trusted": trusted}}


def _with_architecture(description: Description, model: Regressor) -> Description:
    if description.architecture is None or (description.head_bins is None and "targets" not in description.target):
        raise BundleError("description: a network needs architecture and head_bins, got None.")
    from dataclasses import replace

    parts = {"encoder": model.encoder, "head": model.head}
    described = {key: describe(description.architecture[key], part) for key, part in parts.items()}
    return replace(description, architecture=described)


def _is_bundle(folder: Path) -> bool:
    return {path.name for path in folder.iterdir()} <= {DESCRIPTION, WEIGHTS, ESTIMATOR, TOKENIZER}


def _replace(new: Path, folder: Path) -> None:
    """Give the new folder its name. A kill in between leaves the old bundle beside it, under another name."""
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
