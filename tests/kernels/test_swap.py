"""Which layers are turned; that a network stays what it was; a whole step with and without."""

import copy

import pytest
import torch
from kernel_samples import channels_last, needs_compiler
from timm.layers import BatchNormAct2d
from timm.models._efficientnet_blocks import SqueezeExcite
from torch import nn

from distilnas.costing import profile
from distilnas.export import export_onnx
from distilnas.kernels import (
    DepthwiseConv2d,
    FastBatchNorm2d,
    FastBatchNormAct2d,
    FastSqueezeExcite,
    PointwiseConv2d,
    use_fast_kernels,
)
from distilnas.kernels.batch_norm import _BatchNorm
from distilnas.kernels.depthwise import _Depthwise
from distilnas.kernels.squeeze_excite import _Mean
from distilnas.networks import StudentNet
from distilnas.runtime.device import Device
from distilnas.space import Architecture

pytestmark = needs_compiler
SMALL = "stem 8/1 relu | 12/2 mb_k5_e6_relu mb_k3_e3_relu | 16/2 mb_k7_e3_se0.25_silu id | head 32 relu"
OURS = (DepthwiseConv2d, PointwiseConv2d, FastBatchNorm2d, FastBatchNormAct2d, FastSqueezeExcite)


def depthwise(channels: int = 4) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows with every pass through our kernels."""
    made: list[str] = []

    def counted(function: type[torch.autograd.Function]) -> None:
        apply = function.apply
        monkeypatch.setattr(function, "apply", lambda *args: (made.append(function.__name__), apply(*args))[1])

    counted(_Depthwise)
    counted(_BatchNorm)
    counted(_Mean)
    return made


@pytest.mark.parametrize(
    ("layer", "fast"),
    [
        (depthwise(), DepthwiseConv2d),
        (nn.Conv2d(4, 6, 1), PointwiseConv2d),
        (nn.BatchNorm2d(4), FastBatchNorm2d),
        (BatchNormAct2d(4), FastBatchNormAct2d),
    ],
)
def test_the_object_keeps_its_identity(layer, fast):
    model = nn.Sequential(layer, nn.ReLU())
    parameters, keys, seen = list(model.parameters()), list(model.state_dict()), []
    layer.register_forward_hook(lambda *_: seen.append(1))
    assert [use_fast_kernels(model) for _ in range(2)] == [1, 0]
    assert type(layer) is fast
    assert model[0] is layer
    assert all(one is other for one, other in zip(model.parameters(), parameters, strict=True))
    assert list(model.state_dict()) == keys
    model(torch.rand(2, 4, 5, 5))
    assert seen == [1]


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 4, 3, groups=4),
        nn.Conv2d(4, 4, 3, dilation=(1, 2), groups=4, bias=False),
        nn.Conv2d(8, 8, 3, groups=4, bias=False),
        nn.Conv2d(4, 8, 3, groups=4, bias=False),
        nn.Conv2d(4, 4, (3, 5), groups=4, bias=False),
        nn.Conv2d(4, 4, 3, (1, 2), groups=4, bias=False),
        nn.Conv2d(4, 4, 9, groups=4, bias=False),
        nn.Conv2d(4, 4, 3, padding="same", groups=4, bias=False),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect", groups=4, bias=False),
        nn.Conv2d(4, 4, 1, stride=2),
        nn.Conv2d(4, 4, 1, padding=1),
        nn.Conv2d(4, 4, 1, groups=2),
        nn.BatchNorm1d(4),
        nn.Linear(4, 4),
    ],
    ids=str,
)
def test_other_layers_stay_as_they_are(layer):
    before = type(layer)
    assert use_fast_kernels(layer) == 0
    assert type(layer) is before


def test_a_step_of_a_network_is_the_same_with_and_without():
    """In double precision (PyTorch's own path) and in float32 with our kernels: gradients and statistics agree."""
    torch.manual_seed(0)
    exact = StudentNet(Architecture.parse(SMALL), num_classes=5).double()
    device = Device("cpu")
    fast = device.module(copy.deepcopy(exact).float())
    assert [sum(type(module) is ours for module in fast.modules()) for ours in OURS] == [3, 9, 0, 11, 1]
    images, labels = torch.randn(6, 3, 17, 17), torch.randint(5, (6,))
    for model, batch in ((exact, images.double()), (fast, device.images(images))):
        nn.functional.cross_entropy(model.train()(batch), labels).backward()
    largest = max(float(parameter.grad.abs().max()) for parameter in exact.parameters())
    for (name, mine), theirs in zip(fast.named_parameters(), exact.parameters(), strict=True):
        # some gradients are zero but for rounding: scales of a batch norm that a second one follows
        tolerance = 1e-4 * float(theirs.grad.abs().max()) + 1e-6 * largest
        assert (mine.grad - theirs.grad).abs().max() <= tolerance, name
    for mine, theirs in zip(fast.buffers(), exact.buffers(), strict=True):
        torch.testing.assert_close(mine.double(), theirs.double(), rtol=1e-4, atol=1e-5)


def test_what_is_not_plain_training_goes_pytorchs_way(calls):
    model = nn.Sequential(depthwise(), nn.BatchNorm2d(4))
    use_fast_kernels(model)
    images = channels_last(2, 4, 6, 6)
    model(images)
    assert calls == ["_Depthwise", "_BatchNorm"]
    with torch.no_grad():
        model[0](images)
    model[0](images[0])
    model[0](images[:0])
    copy.deepcopy(model).double()(images.double())
    assert copy.deepcopy(model).to("meta")(images.to("meta")).shape == (2, 4, 6, 6)
    with torch.autocast("cpu", torch.float16):
        assert model[0](images).dtype == torch.float16
    model.requires_grad_(False)[0](images)
    assert calls == ["_Depthwise", "_BatchNorm"]


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore::torch.jit.TracerWarning")
def test_graphs_hold_pytorchs_operators(calls):
    model = nn.Sequential(depthwise(), nn.BatchNorm2d(4), nn.Conv2d(4, 6, 1), BatchNormAct2d(6), SqueezeExcite(6))
    images = channels_last(2, 4, 6, 6)
    expected = model(images)
    use_fast_kernels(model)
    graphs = (
        torch.fx.symbolic_trace(model),
        torch.jit.trace(model, images, check_trace=False),
        torch.export.export(model, (images,)).module(),
        torch.compile(model, backend="aot_eager", fullgraph=True),
    )
    for graph in graphs:
        torch.testing.assert_close(graph(images), expected)
    assert calls == []


def test_counts_and_onnx_of_a_turned_network(tmp_path):
    model = StudentNet(Architecture.parse(SMALL), num_classes=5)
    before = profile(model, 17)
    assert use_fast_kernels(model) > 0
    assert profile(model, 17) == before
    export_onnx(model, tmp_path / "model.onnx", torch.rand(2, 3, 17, 17))
