"""Fast kernels for training and frozen teachers on a CPU, in C++ that is compiled at first use.

Without a compiler PyTorch's are used.

PyTorch spends most of a CPU training step of MBConv networks in the gradients of depthwise convolutions and in batch
norm. Ours work in channels-last memory on float32 and bfloat16 data, with sums in float32 and double.
"""

from distilnas.kernels.batch_norm import FastBatchNorm2d, FastBatchNormAct2d
from distilnas.kernels.depthwise import DepthwiseConv2d, DepthwiseConv2dSame
from distilnas.kernels.inverted_residual import FastInvertedResidual
from distilnas.kernels.pointwise import PointwiseConv2d
from distilnas.kernels.squeeze_excite import FastSqueezeExcite
from distilnas.kernels.swap import use_fast_kernels

__all__ = [
    "DepthwiseConv2d",
    "DepthwiseConv2dSame",
    "FastBatchNorm2d",
    "FastBatchNormAct2d",
    "FastInvertedResidual",
    "FastSqueezeExcite",
    "PointwiseConv2d",
    "use_fast_kernels",
]
