"""Tests of attach_fds on models of other packages, and of what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dir.bins import LabelBins
from dir.fds import FDS, ProbabilisticFDS, attach_fds, detach_fds

D, N = 8, 12
BINS = LabelBins.integers(0, 5)
LABELS = torch.arange(N).remainder(6).float()
INPUTS = torch.randn(N, 4, generator=torch.Generator().manual_seed(1))


def model() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, D), nn.Sequential(nn.Dropout(0.0), nn.Linear(D, 1)))


def fds(num_features: int = D) -> FDS:
    return FDS(num_features, BINS)


def check_foreign(net: nn.Module, before: str, size: int, pictures: Tensor) -> None:
    """One epoch collects the inputs of the layer; the eval pass and the names stay those of the plain model."""
    names, seen = list(net.state_dict()), []
    wanted = net.eval()(pictures)
    layer = attach_fds(net, FDS(size, BINS), before=before)
    handle = net.get_submodule(before).register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].detach()))
    net.train()
    labels = LABELS[: len(pictures)]
    with layer.labels(labels):
        net(pictures).sum().backward()
    torch.testing.assert_close(layer.sums.total.sum(0), seen[0].double().sum(0))  # FDS is the identity so far
    layer.end_epoch()
    with layer.labels(labels):
        net(pictures).sum().backward()
    handle.remove()
    assert detach_fds(net) == [layer]
    assert list(net.state_dict()) == names
    assert wanted.shape == net.eval()(pictures).shape


@pytest.mark.filterwarnings("ignore:FDS. most")
def test_a_network_of_torchvision() -> None:
    models = pytest.importorskip("torchvision.models", reason="needs the extra 'recipes'")
    check_foreign(models.resnet18(num_classes=1), "fc", 512, torch.randn(6, 3, 32, 32))
    check_foreign(models.mobilenet_v3_small(num_classes=1), "classifier.3", 1024, torch.randn(6, 3, 32, 32))


@pytest.mark.filterwarnings("ignore:FDS. most")
@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_a_network_of_timm(name: str) -> None:
    timm = pytest.importorskip("timm")
    net = timm.create_model(name, pretrained=False, num_classes=1)
    layer = net.get_classifier()
    before = next(key for key, module in net.named_modules() if module is layer)
    check_foreign(net, before, layer.in_features, torch.randn(6, 3, 160, 160))


def test_probabilistic_fds_dense_labels_and_masks() -> None:
    model = nn.Sequential(nn.Conv2d(1, D, 3, padding=1), nn.Conv2d(D, 1, 1))
    fds = attach_fds(model, ProbabilisticFDS(D, BINS), before=model[1])
    labels = torch.full((2, 1, 5, 5), 3.0)
    holes = torch.zeros_like(labels, dtype=torch.bool)
    holes[0] = True
    labels[holes] = torch.nan
    with fds.labels(labels, mask=~holes):
        assert model(torch.randn(2, 1, 5, 5)).shape == (2, 1, 5, 5)
    assert fds.sums.count.tolist() == [0, 0, 0, 25, 0, 0, 25]


@pytest.mark.parametrize(
    ("before", "text"),
    [
        ("head", r"before: the model has no such layer, got 'head'\. .*: 0 \(4 -> 8\), 1\.1 \(8 -> 1\)\."),
        ("", r"before: the model has no such layer, got ''"),
        ("1", r"before: expected a layer, got 1, a Sequential\. Its linear layers are: 1\.1 \(8 -> 1\)\."),
        (nn.Linear(D, 1), r"before: the layer is no part of the model, got 'Linear'\. Its linear layers are: 0 "),
        ("0", r"fds\.num_features: expected 4, the number of inputs of 0, got 8\."),
    ],
)
def test_a_wrong_layer_is_refused(before: Any, text: str) -> None:
    net = model()
    with pytest.raises(ValueError, match=text):
        attach_fds(net, fds(), before=before)
    assert str(net) == str(model())
    with pytest.raises(ValueError, match="no FDS is attached"):
        detach_fds(net)


def test_a_model_without_linear_layers_says_so() -> None:
    with pytest.raises(ValueError, match="There is no linear layer"):
        attach_fds(nn.Sequential(nn.Conv2d(1, D, 1)), fds(), before="fc")


def test_wrong_types_are_refused() -> None:
    with pytest.raises(TypeError, match="fds: expected an FDS, got 'LabelBins'"):
        attach_fds(model(), BINS, before="1.1")
    with pytest.raises(TypeError, match="before: expected a module or its name, got 1"):
        attach_fds(model(), fds(), before=1)
    with pytest.raises(TypeError, match=r"labels: expected a tensor, or None, got 'list'. Convert"):
        fds().labels([1.0, 2.0])


def test_a_second_fds_at_the_same_place_and_the_same_fds_twice_are_refused() -> None:
    net = model()
    first = attach_fds(net, fds(), before="1.1")
    with pytest.raises(ValueError, match="this FDS is attached to the model already"):
        attach_fds(net, first, before="0")
    with pytest.raises(ValueError, match=r"before: 1\.1 has an FDS or an attribute 'fds' already"):
        attach_fds(net, fds(), before="1.1")
    with pytest.raises(ValueError, match="this FDS is attached"):
        detach_fds(net, fds())


def test_a_compiled_model_is_refused() -> None:
    net = model()
    net.compile(backend="eager")
    for compiled in (torch.compile(model(), backend="eager"), net):
        with pytest.raises(ValueError, match=r"compiled already\. Call attach_fds"):
            attach_fds(compiled, fds(), before=list(compiled.modules())[-1])


def test_training_without_labels_is_an_error_and_none_lets_features_pass() -> None:
    net = model()
    layer = attach_fds(net, fds(), before="1.1")
    with pytest.raises(RuntimeError, match=r"training mode without labels\. Write `with fds\.labels"):
        net(INPUTS)
    wanted = net.eval()(INPUTS)
    net.train()
    with layer.labels(None):
        assert torch.equal(net(INPUTS), wanted)
    layer.eval()  # switched off
    assert torch.equal(net(INPUTS), wanted)
    assert float(layer.sums.count.sum()) == 0


def test_labels_that_no_layer_used_are_an_error() -> None:
    net = model()
    layer = attach_fds(net, fds(), before="1.1")
    with pytest.raises(RuntimeError, match="no layer used the labels"), layer.labels(LABELS):
        net[0](INPUTS)
    with layer.eval().labels(LABELS):
        net(INPUTS)


def test_labels_of_another_batch_are_refused() -> None:
    net = model()
    layer = attach_fds(net, fds(), before="1.1")
    with pytest.raises(ValueError, match=r"labels: expected \[12\] or \[12, 1\]"), layer.labels(LABELS[:-1]):
        net(INPUTS)
    assert float(layer.sums.count.sum()) == 0


def test_an_exception_closes_the_context_and_an_inner_context_returns_to_the_outer() -> None:
    net = model()
    layer = attach_fds(net, fds(), before="1.1")
    with pytest.raises(KeyError), layer.labels(LABELS):
        raise KeyError("by the user")
    with pytest.raises(RuntimeError, match="without labels"):
        net(INPUTS)
    with layer.labels(torch.full((N,), 5.0)):
        with layer.labels(torch.zeros(N)):
            net(INPUTS)
        net(INPUTS)
    assert layer.sums.count.tolist() == [N, 0, 0, 0, 0, N, 0]


def test_a_layer_that_is_called_with_keywords_is_refused() -> None:
    class Keyword(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 1)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.fc(input=inputs)

    net = Keyword()
    layer = attach_fds(net, fds(4), before="fc")
    with pytest.raises(TypeError, match="first argument must be the features"), layer.labels(LABELS):
        net(INPUTS)


def test_fds_takes_the_mode_of_the_layer() -> None:
    net = model().eval()
    assert not attach_fds(net, fds(), before="1.1").training
