"""``load``: read a bundle, with every hash and every value checked."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from dir._checks import message
from dir.bundle.architecture import Classes, build
from dir.bundle.arguments import find_bundle
from dir.bundle.description import (
    ESTIMATOR,
    TOKENIZER,
    WEIGHTS,
    bins_from_dict,
    damaged,
    read,
    regular_file,
    several_targets,
    target_dtype,
    target_log1p,
)
from dir.bundle.fields import BundleError, Fields
from dir.bundle.inputs import input_encoder
from dir.bundle.model import Model
from dir.bundle.predictor import PiecewiseLinear, Predictor


def load(
    folder: str | Path,
    device: str | torch.device = "cpu",
    *,
    classes: Classes | None = None,
    trusted: Sequence[str] = (),
    text_encoder: str | Path | None = None,
) -> Model:
    """Load a bundle.

    The hashes of all files are checked. No code of the bundle runs: classes are looked up in a fixed list, weights
    are safetensors, and scikit-learn regressors are read by skops with a fixed list of types.

    Args:
        folder: the bundle, or the run folder that holds it as ``model/``.
        device: where the network goes. Default "cpu".
        classes: your own encoder and head classes by the ``_target_`` of their run. Default: none.
        trusted: further types that a scikit-learn bundle may hold. Default: none.
        text_encoder: folder or hub name of the frozen sentence encoder, where the bundle's own name is not at hand;
            its content must be the same. None (default): by the name in the bundle.

    Raises:
        FileNotFoundError: no bundle there.
        BundleError: a bundle that is damaged, malformed, of another version, or names what is not listed.
    """
    folder = find_bundle(Path(folder))
    description, fields = read(folder)
    files = fields.section("files")
    _check_tokenizer(folder / TOKENIZER, files.optional(TOKENIZER) or {})
    encoder = input_encoder(fields.section("input"), folder, text_encoder)
    if description.architecture is None:
        from dir.bundle.estimators import restore

        part = files.section(ESTIMATOR)
        content = _checked(folder / ESTIMATOR, part)
        return Model(description, encoder, estimator=restore(content, part.texts("trusted"), trusted, folder))
    content = _checked(folder / WEIGHTS, files.section(WEIGHTS))
    try:
        weights: dict[str, Tensor] = safetensors.torch.load(content)
    except Exception as error:  # SafetensorError, and torch's own errors for shapes that cannot be
        raise damaged(folder / WEIGHTS, f"no safetensors file ({error})") from error
    target = fields.section("target")
    targets = several_targets(target)
    bins = [bins_from_dict(part.section("head_bins")) for part in targets or [fields]]
    regressor = build(fields.section("architecture"), bins, weights, classes, str(folder / WEIGHTS))
    correction = None if description.correction is None else _correction(fields.section("correction"))
    predictor = Predictor(
        regressor,
        [part.number("offset") for part in targets] or target.number("offset"),
        [part.positive("scale") for part in targets] or target.positive("scale"),
        correction,
        target_log1p(target),
        target_dtype(target),
    )
    if targets and (correction is not None or predictor.map_size is not None):
        raise BundleError(message(target.name("targets"), "corrections and maps have one target", len(targets)))
    return Model(description, encoder, predictor.eval().to(device))


def _checked(path: Path, part: Fields) -> bytes:
    content = regular_file(path)
    if hashlib.sha256(content).hexdigest() != part.text("sha256"):
        raise damaged(path, "the content does not match the sha256 in model.json")
    return content


def _check_tokenizer(folder: Path, hashes: dict[str, Any]) -> None:
    found = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if found != set(hashes):
        raise damaged(folder, f"expected the files {sorted(hashes)}, found {sorted(found)}")
    for name in found:
        if hashlib.sha256(regular_file(folder / name)).hexdigest() != hashes[name]:
            raise damaged(folder / name, "the content does not match the sha256 in model.json")


def _correction(fields: Fields) -> PiecewiseLinear:
    extend = fields.choice("kind", ["affine", "isotonic"]) == "affine"
    try:
        return PiecewiseLinear(fields.numbers("x"), fields.numbers("y"), extend)
    except ValueError as error:
        raise BundleError(message(fields.path, str(error).rstrip("."))) from error
