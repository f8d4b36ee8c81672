"""Encoder that trains a pretrained transformer on sentence pairs."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from dir._sentence_encoder import load_model, mean_pool
from dir.models.pair import PairMLPEncoder


class TransformerPairEncoder(nn.Module):
    r"""Embed two sentences with one transformer and compare them with an MLP.

    .. math:: u = \sqrt{D}\, p(a) / \lVert p(a) \rVert, \quad v = \sqrt{D}\, p(b) / \lVert p(b) \rVert,
              \quad f = \mathrm{MLP}([u, v, |u - v|, u \odot v, \cos(u, v)])

    where p is the mean of the transformer's token states. The length sqrt(D) gives components of order 1, which the
    initialisation of the MLP assumes. With unit length, the MLP learns so slowly at a transformer's learning rate
    that its gradients damage the pretrained weights first.

    Args:
        encoder: hub name or local folder of a transformers model, or the model itself; its weights are trained.
        hidden: width of the MLP's only layer, and of the features.
        dropout: probability on the features.

    Shape:
        - input: ``(ids_a, mask_a, ids_b, mask_b)``, int64 ``[N, L_a]`` twice and ``[N, L_b]`` twice.
        - output: ``[N, hidden]`` (``num_features``).

    Raises:
        FileNotFoundError: the transformer cannot be loaded.

    Reference:
        Reimers and Gurevych, "Sentence-BERT" (EMNLP 2019), for the pair features.
    """

    def __init__(self, encoder: str | nn.Module, hidden: int = 256, dropout: float = 0.1) -> None:
        super().__init__()
        # transformers returns models in eval mode, and Lightning does not change the mode of a module.
        transformer: Any = load_model(encoder) if isinstance(encoder, str) else encoder
        self.transformer = transformer.train()
        # The pooler of BERT is unused, and its parameters without gradients would stop DistributedDataParallel.
        self.transformer.pooler = None
        self.pair = PairMLPEncoder(self.transformer.config.hidden_size, hidden=hidden, dropout=dropout)
        self.num_features = self.pair.num_features

    def forward(self, inputs: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
        """Return the features of tokenised pairs; see the class for shapes."""
        ids_a, mask_a, ids_b, mask_b = inputs
        features: Tensor = self.pair((self.sentences(ids_a, mask_a), self.sentences(ids_b, mask_b)))
        return features

    def sentences(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the mean-pooled embeddings of length ``sqrt(D)``, ``[N, D]``."""
        states: Tensor = self.transformer(input_ids=ids, attention_mask=mask).last_hidden_state
        return F.normalize(mean_pool(states, mask), dim=-1) * math.sqrt(states.shape[-1])
