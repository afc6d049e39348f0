"""1x1 convolution as the matrix product it is: in training, and where there are few pixels.

In training the weight's gradient took a third less time so in bfloat16 on one thread. On two threads, with other
programs on the cores, PyTorch's (oneDNN's) took seconds a step and this none of them; its threads seem to spin while
they wait. Over few pixels PyTorch's convolution spends its time on rearranging the weights.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distilnas.kernels.calling import asks_gradient, is_plain


class PointwiseConv2d(nn.Conv2d):
    """A 1x1 ``nn.Conv2d`` that is fast on the CPU in channels-last memory; made by ``use_fast_kernels``.

    State and results are those of ``nn.Conv2d`` within rounding. A frozen weight is cast once for all passes under
    autocast (a copy in that precision is kept); it is cast anew when it has changed, unless through ``weight.data``,
    of which PyTorch takes no note.
    """

    _kept: tuple[tuple[int, int, torch.dtype], Tensor] | None = None

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not is_plain(input, weight) or not input.is_contiguous(memory_format=torch.channels_last):
            return super()._conv_forward(input, weight, bias)
        weight = self._cast(weight)
        few_pixels = input.numel() // self.in_channels < max(self.in_channels, self.out_channels)
        if not few_pixels and not asks_gradient(input, weight):
            return super()._conv_forward(input, weight, bias)
        return F.linear(input.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)

    def _cast(self, weight: Tensor) -> Tensor:
        """A frozen ``weight`` in autocast's precision; any other as it is, autocast itself casts it."""
        if weight.requires_grad or weight.is_inference() or not torch.is_autocast_enabled("cpu"):
            return weight
        key = (weight.data_ptr(), weight._version, torch.get_autocast_dtype("cpu"))
        if self._kept is None or self._kept[0] != key:
            self._kept = (key, weight.to(key[-1]))
        return self._kept[1]


def is_pointwise(conv: nn.Conv2d) -> bool:
    """Whether ``conv`` sees one pixel at a time: kernel and stride 1, no padding, one group."""
    return conv.kernel_size == conv.stride == (1, 1) and conv.padding == (0, 0) and conv.groups == 1
