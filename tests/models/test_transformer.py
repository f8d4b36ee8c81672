"""Pretrained sentence encoders."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from dir._sentence_encoder import BUNDLE, HUB_NAME, default_encoder, load_model
from dir.models.transformer import TransformerPairEncoder

transformers = pytest.importorskip("transformers", reason="needs the extra `recipes`")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    transformers.BertModel(config).save_pretrained(tmp_path)
    return tmp_path


def test_dropout_is_on_from_the_start(folder: Path) -> None:
    model = TransformerPairEncoder(str(folder))
    assert all(module.training for module in model.modules())


def test_embeddings_are_means_of_the_token_states_at_a_fixed_length(folder: Path) -> None:
    model = TransformerPairEncoder(str(folder)).eval()
    ids = torch.tensor([[2, 5, 6, 3]])
    mean = model.transformer(ids).last_hidden_state[0].mean(dim=0)
    torch.testing.assert_close(model.sentences(ids, torch.ones_like(ids))[0], mean / mean.norm() * 8**0.5)


def test_padding_changes_nothing_and_all_weights_are_trained(folder: Path) -> None:
    model = TransformerPairEncoder(str(folder), hidden=6).eval()
    a, b = torch.tensor([[2, 5, 6, 3]]), torch.tensor([[2, 7, 3]])
    alone = model((a, torch.ones_like(a), b, torch.ones_like(b)))
    padded_a, padded_b = F.pad(a, (0, 3)), F.pad(b, (0, 2))
    padded = model((padded_a, (padded_a > 0).long(), padded_b, (padded_b > 0).long()))
    assert alone.shape == (1, model.num_features) == (1, 6)
    torch.testing.assert_close(padded, alone)
    model.train()
    padded = model((padded_a, (padded_a > 0).long(), padded_b, (padded_b > 0).long()))
    padded.sum().backward()
    idle = [name for name, weight in model.named_parameters() if weight.grad is None]
    assert idle == []


def test_default_encoder_is_found_without_importing_it() -> None:
    code = (
        "import sys; from dir._sentence_encoder import default_encoder, BUNDLE; print(default_encoder()); "
        "assert BUNDLE not in sys.modules and 'transformers' not in sys.modules"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert out.strip() == default_encoder()


def test_default_encoder_without_the_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dir._sentence_encoder.BUNDLE", "no_such_package_at_all")
    assert default_encoder() == HUB_NAME


def test_bundled_minilm() -> None:
    pytest.importorskip(BUNDLE, reason="needs the extra `minilm`")
    model = load_model(default_encoder())
    assert model.config.hidden_size == 384
    assert model.config.num_hidden_layers == 6
