"""Sentence embeddings of a frozen transformer, computed once and cached on disk."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from dir._archives import read_npz
from dir._checks import message
from dir._sentence_encoder import POOLINGS, content_hash, default_encoder, load_model, load_tokenizer

log = logging.getLogger(__name__)

View = tuple[str, int]  # a pooling and the hidden state that it pools

VERSION = 1  # version of the cached content: increase it if the same arguments give other numbers


def sentence_embeddings(
    texts: Sequence[str],
    encoder: str | None = None,
    *,
    views: Sequence[View] = (("mean", -1),),
    normalize: bool = True,
    max_length: int = 128,
    cache_dir: str | Path | None = None,
) -> Tensor:
    """Return embeddings of a frozen encoder, one row per text: token states pooled in one or more ways.

    Each distinct text is encoded once. With ``cache_dir`` the result is kept in a file that is named by a hash of
    the texts, of the encoder (content of its folder, or its hub name) and of the other arguments. If the file cannot
    be read, a warning says so and the embeddings are computed again.

    Args:
        texts: N sentences.
        encoder: hub name or local folder; None for the default encoder, all-MiniLM-L6-v2.
        views: pairs of a pooling ("mean" or "max") and a hidden state (0 the word embeddings, -1 the last layer);
            their vectors are concatenated.
        normalize: whether the vector of each view is scaled to length one.
        max_length: largest number of tokens; longer sentences are cut.
        cache_dir: folder of the cache; None for no cache.

    Shape:
        - output: float32 ``[N, len(views) * D]``.

    Raises:
        ValueError: if ``texts`` is empty or ``views`` is not as described.
        FileNotFoundError: if the encoder cannot be loaded.
    """
    if not texts:
        raise ValueError(message("texts", "expected at least one sentence, got none"))
    if not views or any(len(view) != 2 or view[0] not in POOLINGS for view in views):
        raise ValueError(message("data.views", f"expected pairs of {' or '.join(POOLINGS)} and a layer", views))
    # Batches of similar length need the least padding. The text breaks ties, so that the order is fixed.
    distinct = sorted(set(texts), key=lambda text: (len(text), text))
    settings = (distinct, encoder or default_encoder(), views, normalize, max_length)
    path = Path(cache_dir).expanduser() / f"{_key(*settings)}.npz" if cache_dir else None
    table = _read(path, len(distinct)) if path else None
    if table is None:
        table = _encode(*settings)
        if path:
            _write(path, table)
    rows = {text: row for row, text in enumerate(distinct)}
    return torch.from_numpy(table[[rows[text] for text in texts]])


def _encode(
    texts: list[str], encoder: str, views: Sequence[View], normalize: bool, max_length: int
) -> NDArray[np.float32]:
    from rich.progress import track

    tokenizer, model = load_tokenizer(encoder), load_model(encoder)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = model.eval().to(device)
    depth = model.config.num_hidden_layers + 1
    if not all(-depth <= layer < depth for _, layer in views):
        raise ValueError(message("data.views", f"{encoder} has the hidden states 0..{depth - 1}", views))
    size = 128
    parts = []
    for start in track(range(0, len(texts), size), description=f"embedding {len(texts)} sentences"):
        batch = tokenizer(
            texts[start : start + size],
            padding=True,
            truncation=True,
            max_length=max_length,
            return_tensors="pt",
        ).to(device)
        with torch.inference_mode():
            states = model(**batch, output_hidden_states=True).hidden_states
            mask = batch["attention_mask"]
            pooled = [POOLINGS[pooling](states[layer], mask).float() for pooling, layer in views]
            parts.append(torch.cat([F.normalize(p, dim=-1) if normalize else p for p in pooled], dim=-1).cpu())
    table: NDArray[np.float32] = torch.cat(parts).numpy()
    return table


def _key(texts: list[str], encoder: str, views: Sequence[View], normalize: bool, max_length: int) -> str:
    digest = hashlib.sha256()
    digest.update(json.dumps([VERSION, texts, [list(view) for view in views], normalize, max_length]).encode())
    digest.update(_identity(encoder).encode())
    return digest.hexdigest()[:32]


def _identity(encoder: str) -> str:
    """Return a hash of the content of a local encoder's folder, or the name of an encoder on the hub."""
    folder = Path(encoder)
    if not folder.is_dir():
        return encoder
    return content_hash(folder)


def _read(path: Path, rows: int) -> NDArray[np.float32] | None:
    try:
        table: NDArray[np.float32] = read_npz(path, ["embeddings"])["embeddings"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("The embedding cache %s cannot be read (%s). The embeddings are computed again.", path, error)
        return None
    if table.ndim != 2 or table.shape[0] != rows or table.dtype != np.float32 or not np.isfinite(table).all():
        log.warning(
            "The embedding cache %s does not hold %d finite float32 rows. The embeddings are computed again.",
            path,
            rows,
        )
        return None
    return table


def _write(path: Path, table: NDArray[np.float32]) -> None:
    """Write a temporary file and rename it, so that another process sees a whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as stream:
            np.savez(stream, embeddings=table)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
