"""1x1 convolution in training as the matrix product it is.

The weight's gradient took a third less time so in bfloat16 on one thread. On two threads, with other programs on the
cores, PyTorch's (oneDNN's) took seconds a step and this none of them; its threads seem to spin while they wait.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distilnas.kernels.calling import is_plain_training


class PointwiseConv2d(nn.Conv2d):
    """A 1x1 ``nn.Conv2d`` that trains fast on the CPU in channels-last memory; made by ``use_fast_kernels``.

    State and results are those of ``nn.Conv2d`` within rounding; all but plain training goes PyTorch's way.
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not is_plain_training(input, weight) or not input.is_contiguous(memory_format=torch.channels_last):
            return super()._conv_forward(input, weight, bias)
        return F.linear(input.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)


def is_pointwise(conv: nn.Conv2d) -> bool:
    """Whether ``conv`` sees one pixel at a time: kernel and stride 1, no padding, one group."""
    return conv.kernel_size == conv.stride == (1, 1) and conv.padding == (0, 0) and conv.groups == 1
