"""Gradients against PyTorch's own in double precision; everything that is not plain training goes PyTorch's way."""

import copy
import itertools

import pytest
import torch
from kernel_cache import needs_compiler
from torch import Tensor, nn

from distilnas.costing import profile
from distilnas.export import export_onnx
from distilnas.kernels import DepthwiseConv2d, use_fast_depthwise
from distilnas.kernels.depthwise import _Depthwise
from distilnas.networks import StudentNet
from distilnas.runtime.device import Device
from distilnas.space import Architecture

pytestmark = needs_compiler
SMALL = "stem 8/1 relu | 12/2 mb_k5_e6_relu mb_k3_e3_relu | 16/2 mb_k7_e3_silu id | 24/1 mb_k5_e3_relu | head 32 relu"
# Largest error over the largest gradient. bfloat16 keeps 8 bits, so rounding alone gives 2^-9.
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2**-8}
Gradients = tuple[Tensor, Tensor, Tensor]


def convolution(channels: int, kernel: int = 3, stride: int = 1, padding: int | None = None) -> nn.Conv2d:
    torch.manual_seed(0)
    padding = kernel // 2 if padding is None else padding
    return nn.Conv2d(channels, channels, kernel, stride, padding, groups=channels, bias=False)


def gradients(conv: nn.Conv2d, images: Tensor) -> Gradients:
    """(output, input gradient, weight gradient) for a fixed random gradient of the output."""
    images = images.detach().clone().requires_grad_()
    output = conv(images)
    generator = torch.Generator().manual_seed(1)
    grad = torch.randn(output.shape, generator=generator).to(torch.bfloat16).to(output.dtype)
    dx, dw = torch.autograd.grad(output, (images, conv.weight), grad)
    return output.detach(), dx, dw


def assert_close(ours: Gradients, exact: Gradients, tolerance: float) -> None:
    for mine, theirs in zip(ours, exact, strict=True):
        assert mine.shape == theirs.shape
        assert (mine.double() - theirs).abs().max() <= tolerance * theirs.abs().max()


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("kernel", "stride"), list(itertools.product((3, 5, 7), (1, 2, 3))))
def test_gradients_are_those_of_double_precision(kernel, stride, dtype):
    sizes = [(1, 9, 6), (3, 8, 8), (1, 1, 13), (2, 16, 5)]
    for (batch, height, width), channels in itertools.product(sizes, (1, 16, 70)):
        conv = convolution(channels, kernel, stride).to(dtype)
        exact = copy.deepcopy(conv).double()
        assert use_fast_depthwise(conv) == 1
        images = torch.randn(batch, channels, height, width).to(dtype)
        assert_close(gradients(conv, images), gradients(exact, images.double()), TOLERANCE[dtype])


@pytest.mark.parametrize("padding", [0, 1, 4, 5, 6])
def test_any_padding(padding):
    conv = convolution(20, 5, 2, padding)
    exact = copy.deepcopy(conv).double()
    use_fast_depthwise(conv)
    images = torch.randn(2, 20, 9, 12)
    assert_close(gradients(conv, images), gradients(exact, images.double()), 1e-5)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_large_images_in_bands_dealt_to_threads(threads):
    """More than one band an image, one image for several threads, a rest of channels."""
    conv = convolution(72, 5, 2)
    exact = copy.deepcopy(conv).double()
    use_fast_depthwise(conv)
    images = torch.randn(1, 72, 61, 58)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        ours, again = gradients(conv, images), gradients(conv, images)
    finally:
        torch.set_num_threads(before)
    assert_close(ours, gradients(exact, images.double()), 1e-5)
    assert all(torch.equal(one, other) for one, other in zip(ours, again, strict=True))


def test_infinity_and_nan_stay(monkeypatch):
    conv = convolution(16).to(torch.bfloat16)
    use_fast_depthwise(conv)
    images = torch.randn(1, 16, 5, 5, dtype=torch.bfloat16, requires_grad=True)
    grad = torch.zeros(1, 16, 5, 5, dtype=torch.bfloat16)
    grad[0, 0, 2, 2], grad[0, 1, 2, 2] = torch.inf, torch.nan
    (dx,) = torch.autograd.grad(conv(images), images, grad)
    assert dx[0, 0, 2, 2].isinf()
    assert dx[0, 1, 2, 2].isnan()
    assert dx[0, 2:].isfinite().all()


def test_gradients_of_gradients():
    """R-operators and penalties differentiate the backward pass itself."""

    def penalty(conv: nn.Conv2d, images: Tensor) -> Tensor:
        images = images.clone().requires_grad_()
        (dx,) = torch.autograd.grad(conv(images).square().sum(), images, create_graph=True)
        return torch.autograd.grad(dx.square().sum(), conv.weight)[0]

    conv, images = convolution(8), torch.randn(2, 8, 6, 6)
    stock = copy.deepcopy(conv)
    use_fast_depthwise(conv)
    torch.testing.assert_close(penalty(conv, images), penalty(stock, images))


@pytest.mark.parametrize("kind", ["module", "bias", "dilated", "grouped", "oblong", "pointwise", "same", "reflecting"])
def test_other_convolutions_stay_as_they_are(kind):
    common = {"groups": 4, "bias": False}
    others = {
        "module": nn.Linear(4, 4),
        "bias": nn.Conv2d(4, 4, 3, groups=4),
        "dilated": nn.Conv2d(4, 4, 3, dilation=2, **common),
        "grouped": nn.Conv2d(8, 8, 3, **common),
        "oblong": nn.Conv2d(4, 4, (3, 5), **common),
        "pointwise": nn.Conv2d(4, 4, 1, **common),
        "same": nn.Conv2d(4, 4, 3, padding="same", **common),
        "reflecting": nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect", **common),
    }
    before = type(others[kind])
    assert use_fast_depthwise(others[kind]) == 0
    assert type(others[kind]) is before


def test_the_object_keeps_its_identity():
    model = nn.Sequential(convolution(4), nn.ReLU())
    parameters, keys, seen = list(model.parameters()), list(model.state_dict()), []
    first = model[0]
    first.register_forward_hook(lambda *_: seen.append(1))
    assert [use_fast_depthwise(model) for _ in range(2)] == [1, 0]
    assert isinstance(first, DepthwiseConv2d)
    assert model[0] is first
    assert all(one is other for one, other in zip(model.parameters(), parameters, strict=True))
    assert list(model.state_dict()) == keys
    model(torch.rand(1, 4, 5, 5))
    assert seen == [1]


def test_a_step_of_a_network_is_the_same_with_and_without():
    """In double precision (PyTorch's own path), in float32 with our kernels: the same loss, gradients, statistics."""
    torch.manual_seed(0)
    exact = StudentNet(Architecture.parse(SMALL), num_classes=5).double()
    device = Device("cpu")
    fast = device.module(copy.deepcopy(exact).float())
    assert sum(isinstance(module, DepthwiseConv2d) for module in fast.modules()) == 4
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


def test_mixed_precision_rounds_like_pytorchs_own():
    """Inputs float32, as from a layer that autocast keeps so; the weight's gradient is not rounded to bfloat16."""
    conv = convolution(24, 5, 2)
    exact = copy.deepcopy(conv).double()
    use_fast_depthwise(conv)
    images = torch.randn(3, 24, 11, 11)
    with Device("cpu", "bf16-mixed").autocast():
        ours = gradients(conv, images)
    assert [tensor.dtype for tensor in ours] == [torch.bfloat16, torch.float32, torch.float32]
    assert_close(ours, gradients(exact, images.double()), 2**-7)


def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with every pass through our function."""
    made: list[int] = []
    apply = _Depthwise.apply
    monkeypatch.setattr(_Depthwise, "apply", lambda *args: (made.append(1), apply(*args))[1])
    return made


def test_what_is_not_plain_training_goes_pytorchs_way(monkeypatch):
    conv, made = convolution(4), calls(monkeypatch)
    use_fast_depthwise(conv)
    images = torch.rand(2, 4, 6, 6)
    conv(images)
    assert made == [1]
    with torch.no_grad():
        conv(images)
    conv(images[:0])
    conv(images[0])
    copy.deepcopy(conv).double()(images.double())
    assert copy.deepcopy(conv).to("meta")(images.to("meta")).shape == (2, 4, 6, 6)
    with torch.autocast("cpu", torch.float16):
        assert conv(images).dtype == torch.float16
    with pytest.raises(RuntimeError):
        conv(images.bfloat16())
    assert made == [1]
    conv.requires_grad_(False)
    conv(images)
    assert made == [1]


def test_graphs_hold_a_plain_convolution(monkeypatch):
    made = calls(monkeypatch)
    model = nn.Sequential(convolution(4), nn.ReLU())
    images = torch.rand(2, 4, 6, 6)
    expected = model(images)
    use_fast_depthwise(model)
    graphs = (
        torch.fx.symbolic_trace(model),
        torch.jit.trace(model, images, check_trace=False),
        torch.export.export(model, (images,)).module(),
        torch.compile(model, backend="aot_eager", fullgraph=True),
    )
    for graph in graphs:
        torch.testing.assert_close(graph(images), expected)
    assert made == []


def test_counts_and_onnx_of_a_converted_network(tmp_path):
    model = StudentNet(Architecture.parse(SMALL), num_classes=5)
    before = profile(model, 17)
    assert use_fast_depthwise(model) == 4
    assert profile(model, 17) == before
    export_onnx(model, tmp_path / "model.onnx", torch.rand(2, 3, 17, 17))
