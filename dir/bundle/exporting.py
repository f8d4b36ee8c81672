"""Export of a model to ONNX or torch.export, with the arithmetic of the input encoding inside the graph."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dir._atomic import write_atomic
from dir._checks import check_choice, message
from dir.bundle.arguments import FORMATS, Format
from dir.bundle.inputs.images import ImageInputs, scale
from dir.bundle.inputs.tables import TableInputs
from dir.bundle.inputs.texts import EmbeddingTexts
from dir.bundle.inputs.windows import WindowInputs
from dir.bundle.model import Model
from dir.bundle.predictor import Predictor

# Largest difference between the exported and the original predictions, relative to the largest prediction: a steep
# piece of an isotonic correction magnifies the rounding of float32.
TOLERANCE = 1e-5


class TableGraph(nn.Module):
    """Predict from raw numbers and category codes.

    Shape:
        numbers: float64 ``[N, numbers]``, NaN where missing; codes: int64 ``[N, categories]``, the place of each
        category in model.json, -1 for none. A table of numbers alone has no codes, a table of categories no numbers.
    """

    fill: Tensor
    mean: Tensor
    deviation: Tensor

    def __init__(self, predictor: Predictor, inputs: TableInputs) -> None:
        super().__init__()
        self.predictor = predictor
        self.codes = inputs.codes
        self.sizes = [len(known) for known in inputs.encoder.categories.values()]
        self.register_buffer("fill", torch.from_numpy(np.array(inputs.encoder.fill, dtype=np.float64)))
        self.register_buffer("mean", torch.from_numpy(np.array(inputs.encoder.mean, dtype=np.float64)))
        self.register_buffer("deviation", torch.from_numpy(np.array(inputs.encoder.scale, dtype=np.float64)))

    def forward(self, *inputs: Tensor) -> Tensor:
        if self.codes:
            # The known categories have the codes from 1 on; 0 stands for a missing or an unknown one.
            codes = inputs[-1] + 1
            none = torch.zeros(codes.shape[0], 0, device=codes.device)
            coded: Tensor = self.predictor((self.standardised(inputs[0]) if len(self.mean) else none, codes))
            return coded
        predicted: Tensor = self.predictor(self.encode(*inputs))
        return predicted

    def standardised(self, numbers: Tensor) -> Tensor:
        """Return the standardised numbers, float32 [N, numbers]."""
        filled = torch.where(torch.isnan(numbers), self.fill, numbers)
        return ((filled - self.mean) / self.deviation).to(torch.float32)

    def encode(self, *inputs: Tensor) -> Tensor:
        """Return the encoded rows, float32 [N, width]."""
        parts: list[Tensor] = []
        if self.sizes:
            codes = inputs[-1]
            for column, size in enumerate(self.sizes):
                known = torch.arange(size, device=codes.device)
                parts.append((codes[:, column : column + 1] == known).to(torch.float32))
        if len(self.mean):
            parts.append(self.standardised(inputs[0]))
        return torch.cat(parts, dim=1)


class WindowGraph(TableGraph):
    """Predict from windows of raw numbers and category codes, the oldest row first.

    Shape:
        numbers: ``[N, window, numbers]``; codes: ``[N, window, categories]``; as for :class:`TableGraph`.
    """

    def __init__(self, predictor: Predictor, inputs: WindowInputs) -> None:
        super().__init__(predictor, inputs)
        self.width = inputs.length * inputs.encoder.width

    def forward(self, *inputs: Tensor) -> Tensor:
        rows = self.encode(*(part.flatten(0, 1) for part in inputs))
        predicted: Tensor = self.predictor(rows.reshape(-1, self.width))
        return predicted


class ImageGraph(nn.Module):
    """Predict from uint8 pictures ``[N, H, W, C]`` of the network's size."""

    def __init__(self, predictor: Predictor, inputs: ImageInputs) -> None:
        super().__init__()
        self.predictor = predictor
        self.steps = inputs.steps

    def forward(self, images: Tensor) -> Tensor:
        predicted: Tensor = self.predictor(scale(images.permute(0, 3, 1, 2), self.steps))
        return predicted


class EmbeddingGraph(nn.Module):
    """Predict from the float32 embeddings ``[N, D]`` of one text or of two."""

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        self.predictor = predictor

    def forward(self, first: Tensor, second: Tensor | None = None) -> Tensor:
        predicted: Tensor = self.predictor(first if second is None else (first, second))
        return predicted


def export(model: Model, output: str | Path, format: Format = "onnx") -> list[str]:
    """Export a model and compare the predictions of the export with those of the model.

    The batch size is dynamic. Tables take ``numbers`` and ``codes`` (:class:`TableGraph`), pictures take ``images``
    (:class:`ImageGraph`), models on embeddings take ``first``, and ``second`` for two texts: encoding text stays
    outside.

    Args:
        model: a loaded bundle.
        output: the file, ``.onnx`` or ``.pt2``.
        format: "onnx" or "torch_export".

    Returns:
        The names of the inputs.

    Raises:
        ValueError: a scikit-learn model, a kind of input that has no graph, or an export that predicts otherwise.
        ImportError: the extra ``export`` is not installed.
    """
    check_choice("format", format, FORMATS)
    if model.module is None:
        raise ValueError(message("model", "scikit-learn regressors cannot be exported", advice="Use model.predict."))
    graph, names, samples = _graph(model, model.module.cpu())
    graph.eval()
    content = _to_onnx(graph, names, samples) if format == "onnx" else _to_torch(graph, samples)
    for rows in (1, 3):
        part = tuple(sample[:rows] for sample in samples)
        with torch.no_grad():
            expected = graph(*part).numpy()
        found = _run_onnx(content, names, part) if format == "onnx" else _run_torch(content, part)
        worst = float(np.max(np.abs(found - expected)) / max(1.0, float(np.max(np.abs(expected)))))
        if not worst <= TOLERANCE:
            raise ValueError(message("export", f"the export predicts otherwise than the model, by {worst:g}"))
    write_atomic(Path(output), content)
    return names


def _graph(model: Model, predictor: Predictor) -> tuple[nn.Module, list[str], tuple[Tensor, ...]]:
    """Return the graph of a model, the names of its inputs, and four sample rows."""
    encoder, generator = model.encoder, torch.Generator().manual_seed(0)
    if isinstance(encoder, TableInputs):
        shape: tuple[int, ...] = (4, encoder.length) if isinstance(encoder, WindowInputs) else (4,)
        table = (
            WindowGraph(predictor, encoder) if isinstance(encoder, WindowInputs) else TableGraph(predictor, encoder)
        )
        numbers = table.mean + table.deviation * torch.randn(*shape, len(table.mean), generator=generator).double()
        columns = [torch.randint(-1, size, shape, generator=generator) for size in table.sizes]
        codes = torch.stack(columns or [numbers], dim=-1)
        kinds = [("numbers", numbers, len(table.mean)), ("codes", codes, len(table.sizes))]
        used = [(name, sample.contiguous()) for name, sample, width in kinds if width]
        return table, [name for name, _ in used], tuple(sample for _, sample in used)
    if isinstance(encoder, ImageInputs):
        shape = (4, *encoder.size, encoder.channels)
        pictures = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
        return ImageGraph(predictor, encoder), ["images"], (pictures,)
    width = getattr(predictor.regressor.encoder, "in_features", None)
    if isinstance(encoder, EmbeddingTexts) and isinstance(width, int):
        names = ["first", "second"][: len(encoder.columns)]
        return EmbeddingGraph(predictor), names, tuple(torch.randn(4, width, generator=generator) for _ in names)
    advice = "Tables, pictures and embeddings of texts can be exported."
    raise ValueError(message("model", "no graph for this kind of input", encoder.kind, advice))


def _to_onnx(graph: nn.Module, names: list[str], samples: tuple[Tensor, ...]) -> bytes:
    try:
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        advice = 'pip install "deep-imbalanced-regression[export]".'
        raise ImportError(message("format=onnx", "needs onnx, onnxscript and onnxruntime", advice=advice)) from error
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # Deprecations within the exporter, which a caller cannot act on.
        warnings.simplefilter("ignore")
        program: Any = torch.onnx.export(
            graph,
            samples,
            dynamo=True,
            input_names=names,
            output_names=["prediction"],
            dynamic_shapes=_dynamic(graph, samples),
            verbose=False,
        )
        program.save(buffer)
    return buffer.getvalue()


def _to_torch(graph: nn.Module, samples: tuple[Tensor, ...]) -> bytes:
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(graph, samples, dynamic_shapes=_dynamic(graph, samples)), buffer)
    return buffer.getvalue()


def _dynamic(graph: nn.Module, samples: tuple[Tensor, ...]) -> Any:
    batch = torch.export.Dim("batch", min=1, max=2**20)
    shapes = tuple({0: batch} for _ in samples)
    return (shapes,) if isinstance(graph, TableGraph) else shapes


def _run_onnx(content: bytes, names: list[str], samples: tuple[Tensor, ...]) -> Any:
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        return session.run(None, {name: sample.numpy() for name, sample in zip(names, samples, strict=True)})[0]
    except Exception as error:  # onnxruntime has its own types, which derive from Exception alone
        raise ValueError(message("export", f"onnxruntime cannot run the model ({error})")) from error


def _run_torch(content: bytes, samples: tuple[Tensor, ...]) -> Any:
    with torch.no_grad():
        return torch.export.load(io.BytesIO(content)).module()(*samples).numpy()
