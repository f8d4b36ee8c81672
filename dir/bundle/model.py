"""A loaded bundle: ``load``, and ``Model`` with its predictions in raw label units."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor

from dir._checks import check_choice, check_integer, check_interval, message
from dir.bundle.architecture import Classes, build
from dir.bundle.description import (
    ESTIMATOR,
    TOKENIZER,
    WEIGHTS,
    Description,
    bins_from_dict,
    damaged,
    read,
    regular_file,
)
from dir.bundle.fields import BundleError, Fields
from dir.bundle.inputs import input_encoder
from dir.bundle.inputs.rows import InputEncoder, Rows, RowsError
from dir.bundle.predictor import PiecewiseLinear, Predictor

OnError = Literal["raise", "nan"]


class Predicted(NamedTuple):
    """Predictions and variances [N] in raw units, NaN for the rows in ``problems``; some models give no variances."""

    predictions: NDArray[Any]
    variances: NDArray[Any] | None
    problems: dict[int, str]


class Model:
    """A trained model that predicts raw labels from raw inputs; made by :func:`load`.

    Attributes:
        module: the network as a :class:`~dir.bundle.Predictor`, whose inputs are encoded tensors; None for a
            scikit-learn regressor.
        estimator: the scikit-learn regressor; None for a network.
        description: the content of model.json.
        encoder: turns raw inputs into tensors.
    """

    def __init__(
        self, description: Description, encoder: InputEncoder, module: Predictor | None = None, estimator: Any = None
    ) -> None:
        self.description = description
        self.encoder = encoder
        self.module = module
        self.estimator = estimator

    def predict(
        self,
        inputs: Any,
        *,
        batch_size: int | None = None,
        device: str | torch.device | None = None,
        progress: bool = False,
        on_error: OnError = "raise",
        **options: Any,
    ) -> NDArray[Any]:
        """Return the predictions [N] in raw label units.

        Args:
            inputs: a frame, dictionary or array of columns; images as uint8 ``[N, H, W]`` or ``[N, H, W, C]`` or as
                paths; sentence pairs. See :mod:`dir.bundle.inputs`.
            batch_size: rows per batch. None (default): the batch size of the run's evaluation, with which the
                predictions equal those of the run to the last bit.
            device: moves the network there first. None (default): where the network is.
            progress: show a progress bar (needs ``rich``).
            on_error: "raise" (default) stops at rows that cannot be predicted and names all of them; "nan" predicts
                NaN for these rows.
            options: of the kind of input; tables have ``unknown="refuse"`` or ``"zeros"``.

        Raises:
            RowsError: rows that cannot be predicted.
            ValueError: inputs of another form.
        """
        return self.predict_rows(
            inputs, batch_size=batch_size, device=device, progress=progress, on_error=on_error, **options
        ).predictions

    def predict_variance(self, inputs: Any, **options: Any) -> NDArray[Any]:
        """Return the predicted variances [N] in squared raw units; arguments as for :meth:`predict`.

        Raises:
            TypeError: a model that predicts no variance.
        """
        self._require_variance("predict_variance")
        variances = self.predict_rows(inputs, **options).variances
        assert variances is not None
        return variances

    def predict_interval(self, inputs: Any, level: float = 0.9, **options: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the lower and upper ends [N] of the central interval of the predicted distribution.

        The distribution is that of the head; a head that predicts a variance alone has a normal distribution.

        Args:
            inputs: as for :meth:`predict`.
            level: probability of the interval, in (0, 1). Default 0.9.
            options: as for :meth:`predict`.

        Raises:
            TypeError: a model that predicts no variance.
        """
        check_interval("level", level, "(0, 1)")
        self._require_variance("predict_interval")
        ends = self.predict_rows(inputs, _level=level, **options)
        assert ends.variances is not None
        return ends.predictions, ends.variances

    @property
    def has_variance(self) -> bool:
        """Whether the model predicts a variance for each row."""
        if self.module is None or self.module.correction is not None:
            return False
        regressor = self.module.regressor
        features = torch.zeros(1, regressor.num_features, device=self.module.offset.device)
        with torch.no_grad():
            return regressor.variance(regressor.decode(features)) is not None

    def predict_rows(
        self,
        inputs: Any,
        *,
        batch_size: int | None = None,
        device: str | torch.device | None = None,
        progress: bool = False,
        on_error: OnError = "raise",
        _level: float | None = None,
        **options: Any,
    ) -> Predicted:
        """Return predictions, variances and the rows that cannot be predicted; arguments as for :meth:`predict`."""
        # With _level the two columns are the ends of an interval, see predict_interval.
        check_choice("on_error", on_error, ["raise", "nan"])
        size = self.description.batch_size if batch_size is None else batch_size
        check_integer("batch_size", size)
        rows = self.encoder.open(inputs, **options)
        if self.module is not None and device is not None:
            self.module.to(device)
        variances = np.full(rows.count, np.nan, dtype=np.float32) if self.has_variance else None
        predictions = np.full(rows.count, np.nan, dtype=np.float32)
        for indices in _batches(rows.count, size, progress):
            good = rows.good(indices)
            if not good:
                continue
            skip = on_error == "raise" and bool(rows.problems)
            read, values, spread = self._predict_batch(rows, good, skip, _level)
            if values is not None:
                predictions[read] = values
            if variances is not None and spread is not None:
                variances[read] = spread
        if rows.problems and on_error == "raise":
            raise RowsError(rows.problems, rows.count)
        return Predicted(predictions, variances, dict(sorted(rows.problems.items())))

    @torch.no_grad()
    def _predict_batch(
        self, rows: Rows, indices: list[int], skip: bool, level: float | None
    ) -> tuple[list[int], NDArray[Any] | None, NDArray[Any] | None]:
        if self.module is None:
            return indices, np.asarray(self.estimator.predict(rows.frame(indices)), dtype=np.float32), None
        read, inputs = rows.batch(indices)
        # Reading goes on, so that the error names every row; predicting would be wasted.
        if inputs is None or skip or (rows.problems and not read):
            return read, None, None
        device = self.module.offset.device
        moved: Any = tuple(part.to(device) for part in inputs) if isinstance(inputs, tuple) else inputs.to(device)
        if level is not None:
            ends = self.module.interval(moved, level).cpu().numpy()
            return read, ends[:, 0], ends[:, 1]
        prediction, variance = self.module.predict_variance(moved)
        return read, prediction.cpu().numpy(), None if variance is None else variance.cpu().numpy()

    def _require_variance(self, method: str) -> None:
        if not self.has_variance:
            advice = "Train with a method that predicts a variance, such as vir, rbc or uvote."
            raise TypeError(message(method, "the model predicts no variance", advice=advice))


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
    bins = bins_from_dict(fields.section("head_bins"))
    regressor = build(fields.section("architecture"), bins, weights, classes, str(folder / WEIGHTS))
    target = fields.section("target")
    correction = None if description.correction is None else _correction(fields.section("correction"))
    predictor = Predictor(regressor, target.number("offset"), target.positive("scale"), correction)
    return Model(description, encoder, predictor.eval().to(device))


def find_bundle(folder: Path) -> Path:
    """Return the bundle in a folder: the folder itself, or its ``model``."""
    for candidate in (folder, folder / "model"):
        if (candidate / "model.json").is_file():
            return candidate
    raise FileNotFoundError(
        message(str(folder), "no model bundle (model.json) found", advice="Give the folder of a finished run.")
    )


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


def _batches(count: int, size: int, progress: bool) -> Iterable[list[int]]:
    batches = [list(range(start, min(start + size, count))) for start in range(0, count, size)]
    if not progress:
        return batches
    from rich.progress import track

    return track(batches, description=f"predicting {count} rows")
