"""A data module and an encoder that train within a second, for the tests of runs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from dir.data.base import ArrayDataset, RegressionData


class TinyData(RegressionData):
    """Skewed labels 0..10 and four noisy functions of them; `noise` adds random noise as augmentation."""

    def __init__(
        self,
        sizes: tuple[int, int, int] = (200, 60, 60),
        batch_size: int = 32,
        num_workers: int = 0,
        seed: int = 0,
        noise: float = 0.0,
    ) -> None:
        super().__init__(batch_size=batch_size, num_workers=num_workers, seed=seed)
        self.sizes = sizes
        self.noise = noise

    def build(self) -> dict[str, Dataset[Any]]:
        generator = torch.Generator().manual_seed(17)
        splits: dict[str, Dataset[Any]] = {}
        for split, size in zip(("train", "val", "test"), self.sizes, strict=True):
            labels = (10 * torch.rand(size, generator=generator) ** 3).round(decimals=1)
            noise = 0.3 * torch.randn(size, 4, generator=generator)
            splits[split] = ArrayDataset(
                torch.stack([labels, labels.sqrt(), -labels, labels**2 / 10], 1) + noise,
                labels,
                self._augment if split == "train" and self.noise else None,
            )
        return splits

    def _augment(self, inputs: Tensor) -> Tensor:
        return inputs + self.noise * torch.randn_like(inputs)

    def encoder_args(self) -> dict[str, Any]:
        return {"in_features": 4}


class TinyEncoder(nn.Module):
    """An encoder with dropout, so that results depend on the random state, and with optional batch norm."""

    def __init__(
        self, in_features: int, num_features: int = 8, dropout: float = 0.1, batch_norm: bool = False
    ) -> None:
        super().__init__()
        self.num_features = num_features
        norm = [nn.BatchNorm1d(num_features)] if batch_norm else []
        self.layers = nn.Sequential(nn.Linear(in_features, num_features), *norm, nn.ReLU(), nn.Dropout(dropout))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layers(inputs)
