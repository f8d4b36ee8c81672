"""A trained model as a folder of its own: ``save``, ``load`` and ``Model.predict``.

Reading order: ``description`` (model.json), ``architecture`` (which classes a bundle may name), ``predictor``
(encoder, head and units in one module), ``saving``, ``loading`` (``load``), ``model`` (``predict``), ``inputs/`` (raw
inputs to tensors), ``files`` and ``cli`` (scripts/predict.py and scripts/export.py), ``exporting`` (ONNX and
torch.export). A bundle needs neither Hydra nor Lightning nor the training data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dir._lazy import attach

if TYPE_CHECKING:
    from dir.bundle.description import Description as Description
    from dir.bundle.exporting import export as export
    from dir.bundle.fields import BundleError as BundleError
    from dir.bundle.inputs.rows import RowsError as RowsError
    from dir.bundle.loading import load as load
    from dir.bundle.model import Model as Model
    from dir.bundle.predictor import Predictor as Predictor
    from dir.bundle.saving import save as save

_HOMES = {
    "BundleError": "fields",
    "Description": "description",
    "Model": "model",
    "Predictor": "predictor",
    "RowsError": "inputs.rows",
    "export": "exporting",
    "load": "loading",
    "save": "saving",
}
__getattr__, __dir__, __all__ = attach(__name__, _HOMES)
