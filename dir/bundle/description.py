"""model.json of a bundle: its sections, writing, and reading with every value checked.

The file carries its own hash: ``sha256`` is the hash of the file's bytes with the 64 digits replaced by zeros. A
flipped bit anywhere in the file is therefore noticed. The hash protects against damage, not against a forger; nothing
that the file says is imported, executed or opened as a path.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from dir._checks import message
from dir.bins import LabelBins
from dir.bundle.arguments import DESCRIPTION, ESTIMATOR, TOKENIZER, WEIGHTS
from dir.bundle.fields import BundleError, Fields

__all__ = ["DESCRIPTION", "ESTIMATOR", "TOKENIZER", "WEIGHTS", "BundleError", "Description", "read", "regular_file"]

FORMAT = "deep-imbalanced-regression model"
# Version 2 adds target.transform and target.dtype, version 3 target.targets. A bundle has the lowest version with its
# keys, which more releases read: a release that does not know them would predict other numbers.
VERSIONS = (1, 2, 3)
# A vocabulary of a million words stays below this size.
MAX_BYTES = 64 * 2**20
# A module for each target, whose weights are in the file.
MAX_TARGETS = 4096
_ZEROS = "0" * 64
_HASH = re.compile(rb'"sha256": "([0-9a-f]{64})"\n}\n$')
_DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class Description:
    """The content of model.json, apart from the files' hashes.

    Args:
        input: how raw inputs become tensors: ``kind`` ("table", "images", "pairs" or "arrays") and the settings of
            that kind, see :mod:`dir.bundle.inputs`.
        target: ``name``, ``unit``, ``offset`` and ``scale``: the head predicts ``(label - offset) / scale``. With
            ``transform`` "log1p" the head predicts ``(log(1 + label) - offset) / scale``; without the key there is no
            transform. ``dtype`` of raw predictions is "float64", or "float32" without the key. With several targets
            ``targets`` lists ``name``, ``offset``, ``scale``, ``head_bins``, ``label_bins`` and ``counts`` of each,
            which are then nowhere else.
        architecture: ``encoder`` and ``head``, each a ``_target_`` with its arguments; None for an estimator.
        head_bins: label bins in the head's units, see :func:`bins_to_dict`; None for an estimator.
        correction: ``kind``, ``x`` and ``y``: points of a monotone map of the predictions; None for no correction.
        prior: of a head with a label prior: ``power`` and ``temperature`` of its predictions (the weights hold the
            same numbers), ``point`` ("mean" or "median"), and ``objective``, the validation metric that chose the
            power; None for other heads.
        label_bins: label bins in raw units.
        counts: training labels in each of the label bins.
        shots: thresholds of the shot groups.
        batch_size: default batch size of ``predict``.
        run: facts about the run: name, method, seed, versions, commit, data fingerprint and metrics.
    """

    input: dict[str, Any]
    target: dict[str, Any]
    architecture: dict[str, Any] | None = None
    head_bins: dict[str, Any] | None = None
    correction: dict[str, Any] | None = None
    prior: dict[str, Any] | None = None
    label_bins: dict[str, Any] | None = None
    counts: list[int] | None = None
    shots: dict[str, Any] = field(default_factory=dict)
    batch_size: int = 512
    run: dict[str, Any] = field(default_factory=dict)

    def to_bytes(self, files: dict[str, Any]) -> bytes:
        """Return the content of model.json; ``files`` holds the hash of each other file of the bundle.

        Raises:
            BundleError: a value that JSON does not keep, such as NaN.
        """
        version = 3 if "targets" in self.target else 2 if {"transform", "dtype"} & set(self.target) else 1
        content = {"format": FORMAT, "version": version, **asdict(self), "files": files, "sha256": _ZEROS}
        try:
            text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False)
        except (TypeError, ValueError) as error:
            raise BundleError(message(DESCRIPTION, f"a value cannot be written as JSON ({error})")) from error
        blank = (text + "\n").encode()
        digest = hashlib.sha256(blank).hexdigest()
        return blank[: -len(_ZEROS) - 4] + digest.encode() + blank[-4:]


def bins_to_dict(bins: LabelBins) -> dict[str, Any]:
    """Return label bins as plain values."""
    edges = bins.edges.cpu().double().tolist()
    return {"edges": edges, "out_of_range": bins.out_of_range, "dtype": str(bins.dtype).removeprefix("torch.")}


def bins_from_dict(fields: Fields) -> LabelBins:
    """Return the label bins that :func:`bins_to_dict` described."""
    dtype = _DTYPES[fields.choice("dtype", list(_DTYPES))]
    policy: Any = fields.choice("out_of_range", ["clamp", "exclude"])
    try:
        return LabelBins.from_edges(fields.numbers("edges"), policy, dtype)
    except ValueError as error:
        raise BundleError(message(f"{fields.path}.edges", str(error).rstrip("."))) from error


def several_targets(fields: Fields) -> list[Fields]:
    """Return what a bundle with several targets says of each; empty for one target. ``fields``: section ``target``.

    Raises:
        BundleError: a malformed list, or two targets of one name.
    """
    if "targets" not in fields.values:
        return []
    found = fields.sections("targets")
    names = [part.text("name") for part in found]
    if not 2 <= len(names) <= MAX_TARGETS or len(set(names)) < len(names):
        problem = f"expected 2 to {MAX_TARGETS} targets with different names"
        raise BundleError(message(fields.name("targets"), problem, names[:5]))
    return found


def target_log1p(fields: Fields) -> bool:
    """Return whether the head predicts log(1 + label); ``fields`` is the section ``target``."""
    return "transform" in fields.values and fields.choice("transform", ["log1p"]) == "log1p"


def target_dtype(fields: Fields) -> torch.dtype:
    """Return the type of raw predictions; ``fields`` is the section ``target``."""
    return _DTYPES[fields.choice("dtype", list(_DTYPES))] if "dtype" in fields.values else torch.float32


def read(folder: Path) -> tuple[Description, Fields]:
    """Return the description of the bundle in a folder, and all fields of its file.

    Raises:
        FileNotFoundError: the folder holds no bundle.
        BundleError: the file is damaged, malformed or of an unknown version.
    """
    path = folder / DESCRIPTION
    content = _parse(path)
    fields = Fields(content, str(path), "")
    if content.get("format") != FORMAT:
        raise BundleError(message(f"{path}: format", f"expected {FORMAT!r}", content.get("format")))
    version = content.get("version")
    if type(version) is not int or version not in VERSIONS:
        advice = "Update deep-imbalanced-regression, or load the bundle with the release that saved it."
        raise BundleError(
            message(
                f"{path}: version",
                f"this release reads the versions {VERSIONS[0]} to {VERSIONS[-1]}",
                version,
                advice,
            )
        )
    description = Description(
        input=fields.section("input").values,
        target=fields.section("target").values,
        architecture=fields.optional("architecture"),
        head_bins=fields.optional("head_bins"),
        correction=fields.optional("correction"),
        prior=fields.optional("prior"),
        label_bins=fields.optional("label_bins"),
        counts=None if content.get("counts") is None else fields.integers("counts"),
        shots=fields.section("shots").values,
        batch_size=fields.integer("batch_size", 1, 2**20),
        run=fields.section("run").values,
    )
    return description, fields


def regular_file(path: Path, limit: int | None = None) -> bytes:
    """Return the content of a regular file of at most ``limit`` bytes; a pipe or a device is refused unread."""
    if not path.is_file():
        advice = "A bundle is the folder model/ of a finished run."
        raise FileNotFoundError(message(str(path), "no such file", advice=advice))
    if limit is not None and path.stat().st_size > limit:
        raise BundleError(message(str(path), f"expected at most {limit} bytes", path.stat().st_size))
    return path.read_bytes()


def damaged(path: Path, reason: str) -> BundleError:
    """Return the error for a file that is not as it was saved."""
    return BundleError(message(str(path), f"the file is damaged: {reason}", advice="Copy or save the bundle again."))


def _parse(path: Path) -> dict[str, Any]:
    raw = regular_file(path, MAX_BYTES)
    found = _HASH.search(raw)
    if found is None:
        raise damaged(path, "it does not end with its sha256")
    start = found.start(1)
    if hashlib.sha256(raw[:start] + _ZEROS.encode() + raw[start + 64 :]).hexdigest().encode() != found.group(1):
        raise damaged(path, "the content does not match its sha256")
    try:
        content = json.loads(raw.decode(), parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise damaged(path, f"{type(error).__name__}: {error}") from error
    if not isinstance(content, dict):
        raise damaged(path, "expected an object")
    return content


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number of JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a key occurs twice")
    return content
