"""From raw inputs to the tensors of an encoder, one file per kind of input; ``rows`` holds the shared base."""

from __future__ import annotations

from pathlib import Path

from dir.bundle.fields import Fields
from dir.bundle.inputs.rows import InputEncoder

KINDS = ("arrays", "images", "pairs", "table", "texts", "windows")


def input_encoder(fields: Fields, folder: Path, text_encoder: str | Path | None = None) -> InputEncoder:
    """Return the encoder that the section ``input`` of model.json describes.

    Args:
        fields: the section.
        folder: the bundle, which may hold a tokenizer.
        text_encoder: see :func:`dir.bundle.load`.
    """
    kind = fields.choice("kind", KINDS)
    if kind == "table":
        from dir.bundle.inputs.tables import TableInputs

        return TableInputs(fields)
    if kind == "windows":
        from dir.bundle.inputs.windows import WindowInputs

        return WindowInputs(fields)
    if kind == "images":
        from dir.bundle.inputs.images import ImageInputs

        return ImageInputs(fields)
    if kind in ("pairs", "texts"):
        from dir.bundle.inputs.texts import text_inputs

        return text_inputs(fields, folder, text_encoder)
    from dir.bundle.inputs.arrays import ArrayInputs

    return ArrayInputs()
