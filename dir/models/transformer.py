"""Encoders that train a pretrained transformer on one or two texts."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from dir._sentence_encoder import load_model, mean_pool
from dir.models.pair import PairMLPEncoder
from dir.models.text import text_mlp


def trainable_transformer(encoder: str | nn.Module) -> Any:
    """Return a transformer, given by its hub name or local folder or as it is, ready to be trained.

    Raises:
        FileNotFoundError: the transformer cannot be loaded.
    """
    # transformers returns models in eval mode, and Lightning does not change the mode of a module.
    transformer: Any = load_model(encoder) if isinstance(encoder, str) else encoder
    transformer.train()
    # The pooler of BERT is unused, and its parameters without gradients would stop DistributedDataParallel.
    transformer.pooler = None
    return transformer


def embed(transformer: Any, ids: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of the token states of each text, scaled to length ``sqrt(D)``, ``[N, D]``."""
    states: Tensor = transformer(input_ids=ids, attention_mask=mask).last_hidden_state
    return F.normalize(mean_pool(states, mask), dim=-1) * math.sqrt(states.shape[-1])


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
        self.transformer = trainable_transformer(encoder)
        self.pair = PairMLPEncoder(self.transformer.config.hidden_size, hidden=hidden, dropout=dropout)
        self.num_features = self.pair.num_features

    def forward(self, inputs: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
        """Return the features of tokenised pairs; see the class for shapes."""
        ids_a, mask_a, ids_b, mask_b = inputs
        features: Tensor = self.pair((self.sentences(ids_a, mask_a), self.sentences(ids_b, mask_b)))
        return features

    def sentences(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the mean-pooled embeddings of length ``sqrt(D)``, ``[N, D]``."""
        return embed(self.transformer, ids, mask)


class TransformerTextEncoder(nn.Module):
    """Embed one or two texts with one transformer, and encode them by an MLP with one hidden layer.

    The embeddings are those of :class:`TransformerPairEncoder`, and the MLP is that of
    :class:`~dir.models.TextMLPEncoder`.

    Args:
        encoder: hub name or local folder of a transformers model, or the model itself; its weights are trained.
        texts: 1 (default) or 2.
        hidden: width of the MLP's layer, and of the features. Default 256.
        dropout: probability on the features, in [0, 1). Default 0.1.
        symmetric: whether training swaps two texts at random. Default False.

    Shape:
        - input: ``(ids, mask)``, int64 ``[N, L]``, or ``(ids_a, mask_a, ids_b, mask_b)``.
        - output: ``[N, hidden]`` (``num_features``).

    Raises:
        FileNotFoundError: the transformer cannot be loaded.
        ValueError: an argument out of its range, or ``symmetric`` with one text.
    """

    def __init__(
        self,
        encoder: str | nn.Module,
        texts: int = 1,
        hidden: int = 256,
        dropout: float = 0.1,
        symmetric: bool = False,
    ) -> None:
        super().__init__()
        self.transformer = trainable_transformer(encoder)
        width = self.transformer.config.hidden_size
        self.mlp = text_mlp(width, texts, hidden, dropout, symmetric=symmetric)
        self.num_features = hidden

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Return the features of tokenised texts; see the class for shapes."""
        embedded = [embed(self.transformer, inputs[i], inputs[i + 1]) for i in range(0, len(inputs), 2)]
        features: Tensor = self.mlp(embedded[0] if len(embedded) == 1 else tuple(embedded))
        return features
