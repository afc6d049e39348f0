"""1x1 convolutions: outputs and gradients against PyTorch's own in double precision."""

import copy
from typing import Any

import pytest
import torch
from kernel_samples import TOLERANCE, assert_close, channels_last, gradients, needs_compiler
from torch import nn

from distilnas.kernels import PointwiseConv2d, use_fast_kernels

pytestmark = needs_compiler


def pair(bias: bool, dtype: torch.dtype) -> tuple[nn.Conv2d, nn.Conv2d]:
    torch.manual_seed(0)
    fast = nn.Conv2d(20, 33, 1, bias=bias).to(dtype)
    exact = copy.deepcopy(fast).double()
    assert use_fast_kernels(fast) == 1
    assert isinstance(fast, PointwiseConv2d)
    return fast, exact


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 20, 1, 1), (3, 20, 7, 5)])
def test_gradients_are_those_of_double_precision(shape, bias, dtype):
    fast, exact = pair(bias, dtype)
    images = channels_last(*shape, dtype=dtype)
    assert_close(gradients(fast, images), gradients(exact, images.double()), TOLERANCE[dtype])
    assert fast(images).is_contiguous(memory_format=torch.channels_last)


def test_mixed_precision_and_other_memory_order():
    fast, exact = pair(True, torch.float32)
    images = channels_last(2, 20, 6, 6)
    with torch.autocast("cpu", torch.bfloat16):
        ours = gradients(fast, images)
    assert [tensor.dtype for tensor in ours] == [torch.bfloat16, *[torch.float32] * 3]
    assert_close(ours, gradients(exact, images.double()), 2**-7)
    assert fast(images.contiguous()).is_contiguous()


def frozen_pair() -> tuple[Any, Any]:
    """A frozen convolution with our kernel and PyTorch's own."""
    fast, exact = pair(True, torch.float32)
    return fast.requires_grad_(False), exact.float().requires_grad_(False)


@pytest.mark.parametrize("side", [2, 6], ids=["few pixels", "many pixels"])
@pytest.mark.parametrize("autocast", [False, True])
def test_passes_without_gradient(side, autocast):
    fast, plain = frozen_pair()
    images = channels_last(2, 20, side, side)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        ours, theirs = fast(images), plain(images)
    assert ours.dtype == theirs.dtype
    assert ours.is_contiguous(memory_format=torch.channels_last)
    assert_close([ours], [theirs.double()], 2**-8 if autocast else 1e-6)


def test_a_frozen_weight_is_cast_once_and_again_when_it_changes():
    fast, plain = frozen_pair()
    images = channels_last(2, 20, 6, 6)
    changes = (
        lambda conv: None,
        lambda conv: conv.weight.mul_(2),
        lambda conv: setattr(conv.weight, "data", conv.weight.data - 1),
        lambda conv: conv.load_state_dict({key: -value for key, value in conv.state_dict().items()}),
    )
    for change in changes:
        for conv in (fast, plain):
            change(conv)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(fast(images), plain(images))
            kept = fast._kept[1]
            assert torch.equal(fast(images), plain(images))
        assert fast._kept[1] is kept
        assert list(fast.state_dict()) == ["weight", "bias"]
    copied = copy.deepcopy(fast)
    copied.weight.zero_()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(copied(images), fast.bias.bfloat16()[:, None, None].expand(2, -1, 6, 6))


def test_a_gradient_through_a_frozen_convolution_and_a_weight_that_trains_again():
    fast, plain = frozen_pair()
    images = channels_last(2, 20, 6, 6).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        grads = [torch.autograd.grad(conv(images).float().square().sum(), images)[0] for conv in (fast, plain)]
    assert_close(grads[:1], [grads[1].double()], 2**-6)
    fast.requires_grad_(True)
    with torch.autocast("cpu", torch.bfloat16):
        fast(images).sum().backward()
    assert fast.weight.grad is not None
