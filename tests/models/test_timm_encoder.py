"""TimmEncoder: names are data, weights come from the hub or a file, inputs are brought to the model's statistics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from dir.models import TimmEncoder

timm = pytest.importorskip("timm", reason="needs the extra `timm`")


def test_the_features_are_those_of_the_model_on_inputs_of_its_statistics() -> None:
    torch.manual_seed(0)
    encoder = TimmEncoder("resnet18").eval()
    images = torch.rand(2, 3, 32, 32)
    mean = torch.tensor([0.485, 0.456, 0.406]).reshape(3, 1, 1)  # ImageNet, as in timm.data.constants
    deviation = torch.tensor([0.229, 0.224, 0.225]).reshape(3, 1, 1)
    with torch.no_grad():
        expected = encoder.model((images - mean) / deviation)
        torch.testing.assert_close(encoder(2 * images - 1), expected, rtol=1e-4, atol=1e-5)
    assert expected.shape == (2, encoder.num_features) == (2, 512)


@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "mobilenetv3_small_050"])
def test_other_models_and_other_channels(name: str) -> None:
    encoder = TimmEncoder(name, in_channels=1).eval()
    side = encoder.image_size[0] if encoder.image_size else 64
    with torch.no_grad():
        assert encoder(torch.zeros(2, 1, side, side)).shape == (2, encoder.num_features)
    if encoder.image_size:
        with pytest.raises(ValueError, match=f"data.image_size: the model takes pictures of {side} x {side} pixels"):
            encoder(torch.zeros(2, 1, 32, 32))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hf-hub:a/b", "not a model of timm"),
        ("local-dir:/tmp", "not a model of timm"),
        ("resnet19", r"got 'resnet19'\. Did you mean resnet18\?"),
        ("resnet18.nothing", "not a pretrained version .* Choose one of resnet18.a1_in1k"),
    ],
)
def test_names_that_timm_does_not_have_are_refused(name: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TimmEncoder(name)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_of_a_file_are_loaded_with_or_without_a_classifier(suffix: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = timm.create_model("test_resnet", num_classes=7)
    state, path = whole.state_dict(), tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": state}, path)
    else:
        from safetensors.torch import save_file

        save_file(state, path)
    encoder = TimmEncoder("test_resnet", weights=str(path))
    kept = encoder.model.state_dict()
    assert len(kept) > 20
    for key, value in kept.items():
        torch.testing.assert_close(value, state[key])
    with pytest.raises(ValueError, match="the weights do not fit the model: cls_token is missing"):
        TimmEncoder("test_vit", weights=str(path))
    with pytest.raises(ValueError, match=r"model\.weights: model\.pretrained=true takes the hub's"):
        TimmEncoder("test_resnet", pretrained=True, weights=str(path))


class Opens:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("opened"),)


def test_a_file_that_is_no_weights_is_refused_and_runs_no_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Opens()}, tmp_path / "code.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ValueError, match=r"code\.pth: not readable as weights"):
        TimmEncoder("test_resnet", weights="code.pth")
    assert not (tmp_path / "opened").exists()
    with pytest.raises(ValueError, match=r"list\.pth: expected tensors by name, got 'list'"):
        TimmEncoder("test_resnet", weights="list.pth")
    with pytest.raises(FileNotFoundError, match=r"model\.weights: file none\.pth not found"):
        TimmEncoder("test_resnet", weights="none.pth")


def test_without_a_network_the_error_says_how_to_get_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any, **__: Any) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", offline)
    with pytest.raises(FileNotFoundError, match=r"\(no network\).*timm/resnet18\.a1_in1k.*model\.weights=FILE"):
        TimmEncoder("resnet18", pretrained=True)
