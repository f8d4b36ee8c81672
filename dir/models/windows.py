"""Encoders of windows of a time series: a recurrent and a convolutional network."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from dir._checks import check_integer, check_interval, message


def columns_of(in_features: int, window: int) -> int:
    """Return the columns of one row of a window.

    Raises:
        ValueError: for data that has no windows.
    """
    advice = "Set data.window=N, or choose model=mlp for rows of a table."
    if isinstance(window, bool) or not isinstance(window, int) or window < 1:
        raise ValueError(message("model.encoder.window", "expected the rows of a window", window, advice))
    if in_features % window or in_features < window:
        problem = f"expected a divisor of the {in_features} columns of a sample"
        raise ValueError(message("model.encoder.window", problem, window, advice))
    return in_features // window


class GRUEncoder(nn.Module):
    """Encode windows by a gated recurrent unit: the features are its last state.

    Args:
        in_features: columns of a window, ``window`` times the columns of a row.
        window: rows of a window, the oldest first.
        hidden: width of the state, the number of features. Default 64.
        layers: layers of the unit. Default 1.
        dropout: probability of zeroing a feature, and a state between layers, in [0, 1). Default 0.

    Shape:
        [N, in_features] -> [N, hidden].

    Raises:
        ValueError: an argument outside its range.

    Example:
        >>> import torch
        >>> GRUEncoder(in_features=24 * 5, window=24, hidden=16)(torch.zeros(3, 120)).shape
        torch.Size([3, 16])

    Reference:
        Cho et al., Learning Phrase Representations using RNN Encoder-Decoder, EMNLP 2014.
    """

    def __init__(
        self, in_features: int, window: int, hidden: int = 64, layers: int = 1, dropout: float = 0.0
    ) -> None:
        super().__init__()
        columns = columns_of(in_features, window)
        check_integer("hidden", hidden)
        check_integer("layers", layers)
        check_interval("dropout", dropout, "[0, 1)")
        self.window = window
        between = dropout if layers > 1 else 0.0
        self.recurrent = nn.GRU(columns, hidden, layers, batch_first=True, dropout=between)
        self.dropout = nn.Dropout(dropout)
        self.num_features = hidden

    def forward(self, inputs: Tensor) -> Tensor:
        _, state = self.recurrent(inputs.reshape(inputs.shape[0], self.window, -1))
        features: Tensor = self.dropout(state[-1])
        return features


class TCNEncoder(nn.Module):
    """Encode windows by a temporal convolutional network: the features are those of its last row.

    Blocks of two causal convolutions with a skip connection; block k has the dilation ``2 ** k``. There are as many
    blocks as the features need to see the whole window.

    Args:
        in_features: columns of a window, ``window`` times the columns of a row.
        window: rows of a window, the oldest first.
        channels: channels of each convolution, the number of features. Default 64.
        kernel_size: rows that a convolution sees, >= 2. Default 3.
        dropout: probability of zeroing an activation, in [0, 1). Default 0.

    Shape:
        [N, in_features] -> [N, channels].

    Raises:
        ValueError: an argument outside its range.

    Example:
        >>> import torch
        >>> TCNEncoder(in_features=24 * 5, window=24, channels=16)(torch.zeros(3, 120)).shape
        torch.Size([3, 16])

    Reference:
        Bai et al., An Empirical Evaluation of Generic Convolutional and Recurrent Networks for Sequence Modeling,
        2018; with layer normalisation of the features in place of weight normalisation.
    """

    def __init__(
        self, in_features: int, window: int, channels: int = 64, kernel_size: int = 3, dropout: float = 0.0
    ) -> None:
        super().__init__()
        width = columns_of(in_features, window)
        check_integer("channels", channels)
        check_integer("kernel_size", kernel_size, minimum=2)
        check_interval("dropout", dropout, "[0, 1)")
        self.window = window
        blocks: list[nn.Module] = []
        seen = 1
        while seen < window or not blocks:
            dilation = 2 ** len(blocks)
            blocks.append(CausalBlock(width, channels, kernel_size, dilation, dropout))
            width = channels
            seen += 2 * (kernel_size - 1) * dilation
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(channels)
        self.num_features = channels

    def forward(self, inputs: Tensor) -> Tensor:
        series = inputs.reshape(inputs.shape[0], self.window, -1).transpose(1, 2)
        features: Tensor = self.norm(self.blocks(series)[:, :, -1])
        return features


class CausalBlock(nn.Module):
    """Two causal convolutions over time, with a skip connection: ``[N, in_channels, T]`` -> ``[N, channels, T]``."""

    def __init__(self, in_channels: int, channels: int, kernel_size: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.padding = (kernel_size - 1) * dilation
        self.first = nn.Conv1d(in_channels, channels, kernel_size, dilation=dilation)
        self.second = nn.Conv1d(channels, channels, kernel_size, dilation=dilation)
        self.skip = nn.Identity() if in_channels == channels else nn.Conv1d(in_channels, channels, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, series: Tensor) -> Tensor:
        # Padding on the left alone: no row sees a later one.
        hidden = self.dropout(F.relu(self.first(F.pad(series, (self.padding, 0)))))
        hidden = self.dropout(F.relu(self.second(F.pad(hidden, (self.padding, 0)))))
        out: Tensor = F.relu(hidden + self.skip(series))
        return out
