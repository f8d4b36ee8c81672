"""BiLSTM encoder of sentence pairs, with masked max pooling."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from dir._checks import check_integer, message
from dir.models.pair import pair_features

PAD = 0


class BiLSTMPairEncoder(nn.Module):
    r"""Encode two sentences with one BiLSTM and compare them.

    .. math:: u = \max_t \mathrm{BiLSTM}(a)_t, \quad v = \max_t \mathrm{BiLSTM}(b)_t, \quad
              f = [u, v, |u - v|, u \odot v]

    Sequences are packed, so that padding does not change the features of a pair. An empty sentence counts as a single
    padding token.

    Args:
        vocab_size: number of token ids, for learned word vectors. Set either this or ``embeddings``.
        embeddings: frozen word vectors ``[V, E]``; row 0 belongs to the padding.
        embedding_dim: width of learned word vectors; ignored with ``embeddings``.
        hidden: width of the LSTM state in each direction.
        layers: number of stacked BiLSTM layers.
        dropout: probability on the word vectors and between the layers.

    Shape:
        - input: a pair of int64 ``[N, L_a]`` and ``[N, L_b]``, padded with id 0 on the right.
        - output: ``[N, 8 * hidden]`` (``num_features``).

    Raises:
        ValueError: both or none of ``vocab_size`` and ``embeddings``, or a size below 1.

    Example:
        >>> encoder = BiLSTMPairEncoder(vocab_size=10, embedding_dim=4, hidden=3)
        >>> a, b = torch.tensor([[1, 2, 0], [3, 4, 5]]), torch.tensor([[6, 0], [7, 8]])
        >>> encoder((a, b)).shape
        torch.Size([2, 24])

    Reference:
        Conneau et al., "Supervised Learning of Universal Sentence Representations" (EMNLP 2017).
    """

    def __init__(
        self,
        vocab_size: int | None = None,
        embeddings: Tensor | None = None,
        embedding_dim: int = 300,
        hidden: int = 1500,
        layers: int = 2,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        if (vocab_size is None) == (embeddings is None):
            given = vocab_size, None if embeddings is None else list(embeddings.shape)
            advice = "Set vocab_size for learned word vectors or embeddings for frozen word vectors."
            raise ValueError(message("vocab_size, embeddings", "expected exactly one", given, advice))
        for name, value in (("hidden", hidden), ("layers", layers), ("embedding_dim", embedding_dim)):
            check_integer(name, value)
        if embeddings is not None:
            if embeddings.dim() != 2 or not embeddings.is_floating_point():
                found = f"{embeddings.dtype} {list(embeddings.shape)}"
                raise ValueError(message("embeddings", "expected floating point [V, E]", found))
            rows, width = embeddings.shape
            self.embedding = nn.Embedding(rows, width, padding_idx=PAD, _weight=embeddings.clone())
            self.embedding.weight.requires_grad_(False)
        elif vocab_size is not None:
            self.embedding = nn.Embedding(vocab_size, embedding_dim, padding_idx=PAD)
        self.dropout = nn.Dropout(dropout)
        self.lstm = nn.LSTM(
            self.embedding.embedding_dim,
            hidden,
            num_layers=layers,
            batch_first=True,
            bidirectional=True,
            dropout=dropout if layers > 1 else 0.0,  # torch warns about dropout with a single layer
        )
        self.num_features = 8 * hidden

    def forward(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        """Return the features of pairs of token ids; see the class for shapes."""
        ids_a, ids_b = inputs
        width = max(ids_a.shape[1], ids_b.shape[1])
        # A single LSTM call for both sides needs half the launches and reads the weights once.
        ids = torch.cat([F.pad(side, (0, width - side.shape[1]), value=PAD) for side in (ids_a, ids_b)])
        u, v = self.sentences(ids).chunk(2)
        return pair_features(u, v)

    def sentences(self, ids: Tensor) -> Tensor:
        """Return the max-pooled states ``[N, 2 * hidden]`` of sentences ``[N, L]``."""
        # Packing needs the lengths on the CPU, so this transfer in each step is unavoidable.
        lengths = (ids != PAD).sum(dim=1).clamp(min=1).cpu()
        packed = pack_padded_sequence(
            self.dropout(self.embedding(ids)), lengths, batch_first=True, enforce_sorted=False
        )
        states, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, padding_value=float("-inf"))
        return states.amax(dim=1)
