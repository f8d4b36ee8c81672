"""A transformer of a few thousand random weights, saved as a folder like a pretrained one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat", "two", "dogs", "tall", "word", "five", ".", '"']


@pytest.fixture
def tiny_encoder(tmp_path: Path) -> Callable[..., Path]:
    """`tiny_encoder(seed=0)` -> a folder with config, weights and tokenizer."""
    transformers = pytest.importorskip("transformers", reason="needs the extra `recipes`")

    def make(seed: int = 0) -> Path:
        folder = tmp_path / f"encoder_{seed}"
        folder.mkdir()
        vocabulary = folder / "vocab.txt"
        vocabulary.write_text("\n".join(WORDS), encoding="utf-8")
        torch.manual_seed(seed)
        config = transformers.BertConfig(
            vocab_size=len(WORDS),
            hidden_size=8,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=32,
        )
        transformers.BertModel(config).save_pretrained(folder)
        # By position: transformers 5 ignores vocab_file=, and every word would be unknown.
        transformers.BertTokenizerFast(str(vocabulary)).save_pretrained(folder)
        return folder

    return make
