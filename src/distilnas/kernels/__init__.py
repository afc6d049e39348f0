"""Fast kernels for the CPU: shipped as C++ source, compiled at first use; without a compiler PyTorch's own are used."""

from distilnas.kernels.depthwise import DepthwiseConv2d, use_fast_depthwise

__all__ = ["DepthwiseConv2d", "use_fast_depthwise"]
