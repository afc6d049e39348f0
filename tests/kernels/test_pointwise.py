"""1x1 convolutions: outputs and gradients against PyTorch's own in double precision."""

import copy

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
