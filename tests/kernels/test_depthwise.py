"""Depthwise convolutions: gradients against PyTorch's own in double precision."""

import copy
import itertools

import pytest
import torch
from kernel_samples import TOLERANCE, assert_close, channels_last, gradients, needs_compiler, second_gradients
from timm.layers import Conv2dSame
from torch import nn

from distilnas.kernels import DepthwiseConv2d, DepthwiseConv2dSame, use_fast_kernels

pytestmark = needs_compiler


def pair(
    channels: int,
    kernel: int = 3,
    stride: int = 1,
    padding: int | None = None,
    dilation: int = 1,
    dtype: torch.dtype = torch.float32,
) -> tuple[nn.Conv2d, nn.Conv2d]:
    """A convolution with our kernels and the same one in double precision."""
    torch.manual_seed(0)
    padding = dilation * (kernel // 2) if padding is None else padding
    fast = nn.Conv2d(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False).to(dtype)
    exact = copy.deepcopy(fast).double()
    assert use_fast_kernels(fast) == 1
    assert isinstance(fast, DepthwiseConv2d)
    return fast, exact


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("kernel", "stride"), list(itertools.product((3, 5, 7), (1, 2, 3))))
def test_gradients_are_those_of_double_precision(kernel, stride, dtype):
    sizes = [(1, 9, 6), (3, 8, 8), (1, 1, 13), (2, 16, 5)]
    for (batch, height, width), channels in itertools.product(sizes, (1, 16, 70)):
        fast, exact = pair(channels, kernel, stride, dtype=dtype)
        images = channels_last(batch, channels, height, width, dtype=dtype)
        assert_close(gradients(fast, images), gradients(exact, images.double()), TOLERANCE[dtype])


@pytest.mark.parametrize(("kernel", "stride", "dilation"), list(itertools.product((3, 5), (1, 2, 3), (2, 3))))
def test_dilation(kernel, stride, dilation):
    for (batch, height, width), padding in itertools.product([(1, 13, 14), (3, 16, 19)], (None, dilation)):
        fast, exact = pair(20, kernel, stride, padding, dilation)
        images = channels_last(batch, 20, height, width)
        assert_close(gradients(fast, images), gradients(exact, images.double()), 1e-5)


@pytest.mark.parametrize("padding", [0, 1, 4, 5, 6])
def test_any_padding_and_memory_order(padding):
    fast, exact = pair(20, 5, 2, padding)
    images = channels_last(2, 20, 9, 12).contiguous()
    assert_close(gradients(fast, images), gradients(exact, images.double()), 1e-5)


@pytest.mark.parametrize(("threads", "dilation"), [(1, 1), (2, 1), (5, 1), (2, 2)])
def test_large_images_in_bands_dealt_to_threads(threads, dilation):
    """More than one band an image, one image for several threads, a rest of channels; the same bits every time."""
    fast, exact = pair(72, 5, 2, dilation=dilation)
    images = channels_last(1, 72, 61, 58)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        ours, again = gradients(fast, images), gradients(fast, images)
    finally:
        torch.set_num_threads(before)
    assert_close(ours, gradients(exact, images.double()), 1e-5)
    assert all(torch.equal(one, other) for one, other in zip(ours, again, strict=True))


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(3, 2, 1), (5, 2, 1), (7, 3, 1), (3, 1, 1), (3, 2, 2)])
def test_padding_by_the_size_of_the_image(kernel, stride, dilation, dtype):
    """timm's TensorFlow networks; sizes that need no, even and uneven padding."""
    fast = Conv2dSame(20, 20, kernel, stride, dilation=dilation, groups=20, bias=False).to(dtype)
    exact = copy.deepcopy(fast).double()
    assert use_fast_kernels(fast) == 1
    assert isinstance(fast, DepthwiseConv2dSame)
    for batch, height, width in [(1, 9, 6), (3, 8, 8), (2, 5, 16)]:
        images = channels_last(batch, 20, height, width, dtype=dtype)
        assert_close(gradients(fast, images), gradients(exact, images.double()), TOLERANCE[dtype])


def test_infinity_and_nan_stay():
    fast, _ = pair(16, dtype=torch.bfloat16)
    images = channels_last(1, 16, 5, 5, dtype=torch.bfloat16).requires_grad_()
    grad = torch.zeros(1, 16, 5, 5, dtype=torch.bfloat16)
    grad[0, 0, 2, 2], grad[0, 1, 2, 2] = torch.inf, torch.nan
    (dx,) = torch.autograd.grad(fast(images), images, grad)
    assert dx[0, 0, 2, 2].isinf()
    assert dx[0, 1, 2, 2].isnan()
    assert dx[0, 2:].isfinite().all()


def test_only_the_gradient_asked_for():
    fast, exact = pair(8, 5)
    images = channels_last(2, 8, 6, 6)
    (dw,) = torch.autograd.grad(fast(images).sum(), fast.weight)
    torch.testing.assert_close(dw.double(), torch.autograd.grad(exact(images.double()).sum(), exact.weight)[0])
    fast.requires_grad_(False)
    images.requires_grad_()
    fast(images).sum().backward()
    assert fast.weight.grad is None
    assert images.grad is not None


def test_gradients_of_gradients():
    fast, exact = pair(8)
    images = channels_last(2, 8, 6, 6)
    assert_close(second_gradients(fast, images), second_gradients(exact, images.double()), 1e-5)


@pytest.mark.parametrize("memory", [torch.channels_last, torch.contiguous_format])
def test_the_images_gradient_of_the_weights_gradient(memory):
    found = []
    for layer, dtype in zip(pair(8), (torch.float32, torch.float64), strict=True):
        images = channels_last(2, 8, 6, 6).to(dtype).contiguous(memory_format=memory).requires_grad_()
        (dw,) = torch.autograd.grad(layer(images).square().sum(), layer.weight, create_graph=True)
        found.append(torch.autograd.grad(dw.square().sum(), images)[0])
    assert_close(found[:1], found[1:], 1e-5)


def test_the_default_precision_does_not_matter():
    fast, exact = pair(8)
    images = channels_last(2, 8, 6, 6)
    torch.set_default_dtype(torch.float64)
    try:
        assert_close(gradients(fast, images), gradients(exact, images.double()), 1e-5)
    finally:
        torch.set_default_dtype(torch.float32)


def test_mixed_precision():
    """Images and weight come in float32; the weight's gradient stays so."""
    fast, exact = pair(24, 5, 2)
    images = channels_last(3, 24, 11, 11)
    with torch.autocast("cpu", torch.bfloat16):
        ours = gradients(fast, images)
    assert [tensor.dtype for tensor in ours] == [torch.bfloat16, torch.float32, torch.float32]
    assert_close(ours, gradients(exact, images.double()), 2**-7)


def test_unequal_precisions_are_pytorchs_error():
    fast, _ = pair(4)
    with pytest.raises(RuntimeError):
        fast(channels_last(1, 4, 5, 5, dtype=torch.bfloat16))
