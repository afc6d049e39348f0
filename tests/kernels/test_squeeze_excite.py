"""Squeeze-and-excite: outputs and gradients against timm's own in double precision."""

import copy

import pytest
import torch
from kernel_samples import TOLERANCE, assert_close, channels_last, gradients, needs_compiler, second_gradients
from timm.models._efficientnet_blocks import SqueezeExcite
from torch import nn

from distilnas.kernels import FastSqueezeExcite, use_fast_kernels
from distilnas.kernels.squeeze_excite import _Mean, _Scale

pytestmark = needs_compiler


def pair(channels: int, dtype: torch.dtype = torch.float32) -> tuple[nn.Module, nn.Module]:
    """One with our kernels, gates far from equal, and the same one in double precision."""
    torch.manual_seed(0)
    fast = SqueezeExcite(channels, rd_channels=4, act_layer=nn.SiLU)
    with torch.no_grad():
        fast.conv_expand.weight.normal_()
    fast = fast.to(dtype)
    exact = copy.deepcopy(fast).double()
    use_fast_kernels(fast)
    assert isinstance(fast, FastSqueezeExcite)
    return fast, exact


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 16, 5, 3), (2, 70, 9, 8)])
def test_gradients_are_those_of_double_precision(shape, dtype):
    fast, exact = pair(shape[1], dtype)
    images = channels_last(*shape, dtype=dtype)
    assert_close(gradients(fast, images), gradients(exact, images.double()), 4 * TOLERANCE[dtype])
    assert_close(second_gradients(fast, images), second_gradients(exact, images.double()), 16 * TOLERANCE[dtype])


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_many_pixels_on_threads(threads):
    """More pixels than are added up in registers, and far from zero; threads do not change a bit."""
    images = channels_last(3, 40, 60, 50) + 100
    grad = channels_last(3, 40, 60, 50, seed=1)
    gate = torch.rand(3, 40, 1, 1)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        mean, scaled = _Mean.apply(images), _Scale.apply(images, gate.requires_grad_())
        (dgate,) = torch.autograd.grad(scaled, gate, grad)
    finally:
        torch.set_num_threads(before)
    assert_close([mean], [images.double().mean((2, 3), keepdim=True)], 1e-6)
    assert torch.equal(scaled, images * gate)
    assert_close([dgate], [(images.double() * grad).sum((2, 3), keepdim=True)], 1e-5)


def test_mixed_precision_is_timms():
    fast, exact = pair(24)
    plain = copy.deepcopy(exact).float()
    for dtype in TOLERANCE:
        images = channels_last(2, 24, 6, 6, dtype=dtype)
        with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
            ours, theirs = fast(images), plain(images)
        assert ours.dtype == theirs.dtype == dtype
        assert_close([ours], [theirs.double()], 2**-7)


def test_other_memory_order_goes_timms_way():
    fast, exact = pair(8)
    images = channels_last(2, 8, 6, 6).contiguous()
    assert fast(images).is_contiguous()
    assert_close([fast(images)], [exact(images.double())], 1e-6)
