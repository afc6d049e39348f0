"""Exact counts of parameters and multiply-adds, on the meta device: shapes only, no arithmetic, no memory.

``macs`` (papers print "FLOPs") are those of convolutions and linear layers for one image. ``paper_flops`` counts as the
DNA authors did: convolution MACs plus one per output element where the convolution has a bias, linear MACs, 2 per input
element of every affine batch norm, 1 per input element of pooling layers.
"""

import copy
import math
from dataclasses import dataclass

import torch
from timm.layers import LayerScale, LayerScale2d, RelPosBias, RelPosBiasTf
from timm.layers.adaptive_avgmax_pool import FastAdaptiveAvgPool
from timm.layers.grn import GlobalResponseNorm
from timm.models import fastvit, hgnet, metaformer, mlp_mixer, swiftformer
from torch import Tensor, nn

from distilnas.errors import UsageError

_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.modules.batchnorm._BatchNorm,)
_POOLS = (
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AdaptiveMaxPoolNd,
    FastAdaptiveAvgPool,
)
_SCALES = (LayerScale, LayerScale2d, fastvit.LayerScale2d, hgnet.LearnableAffineBlock, metaformer.Scale)
_SCALES += (mlp_mixer.Affine, swiftformer.LayerScale2d, GlobalResponseNorm, RelPosBias, RelPosBiasTf)
_FREE = (nn.GroupNorm, nn.LayerNorm, nn.PReLU, nn.Embedding, *_SCALES)  # own parameters, but neither conv nor linear


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Counts for one image at ``resolution``."""

    params: int
    macs: int
    paper_flops: int
    resolution: int


def count_params(model: nn.Module) -> int:
    """Number of parameters (buffers excluded)."""
    return sum(p.numel() for p in model.parameters())


def profile(model: nn.Module, resolution: int, *, in_chans: int = 3) -> Profile:
    """Count a classifier for one (in_chans, resolution, resolution) image; the model itself is not run or changed."""
    macs, paper_flops, _ = count(model, (in_chans, resolution, resolution))
    return Profile(params=count_params(model), macs=macs, paper_flops=paper_flops, resolution=resolution)


def count(model: nn.Module, shape: tuple[int, ...]) -> tuple[int, int, tuple[int, ...]]:
    """(macs, paper_flops, output shape without batch) of ``model`` for one input of ``shape`` (without batch).

    Raises ``UsageError`` for a module that holds parameters in a way no rule covers: nothing is silently counted as 0.
    """
    meta = copy.deepcopy(model).to("meta").eval()
    counts = _Counts()
    for name, module in meta.named_modules():
        _check_countable(name, module)
        if isinstance(module, (*_CONVS, nn.Linear, *_NORMS, *_POOLS)):
            module.register_forward_hook(counts.add)
    with torch.no_grad():
        try:
            out = meta(torch.empty(1, *shape, device="meta"))
        except (RuntimeError, AssertionError, ValueError, TypeError, AttributeError) as error:
            raise UsageError(f"cannot count {type(model).__name__} for an input of {shape}: {error}") from error
    return counts.macs, counts.paper_flops, tuple(out.shape[1:])


class _Counts:
    def __init__(self) -> None:
        self.macs = 0
        self.paper_flops = 0

    def add(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, _CONVS):
            macs = output.numel() * math.prod(module.kernel_size) * (module.in_channels // module.groups)
            self.macs += macs
            self.paper_flops += macs + (output.numel() if module.bias is not None else 0)
        elif isinstance(module, nn.Linear):
            macs = output.numel() * module.in_features
            self.macs += macs
            self.paper_flops += macs
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            self.paper_flops += 2 * inputs[0].numel() if module.affine else 0
        else:
            self.paper_flops += inputs[0].numel()


def _check_countable(name: str, module: nn.Module) -> None:
    """Parameters may be owned by counted modules, norms, and by containers (tokens, position embeddings)."""
    owns = any(True for _ in module.parameters(recurse=False))
    leaf = not any(True for _ in module.children())
    known = (*_CONVS, nn.Linear, *_NORMS, *_FREE)
    if isinstance(module, nn.MultiheadAttention) or (owns and leaf and not isinstance(module, known)):
        raise UsageError(
            f"cannot count the multiply-adds of {type(module).__name__} ({name or 'the model'}); "
            "counted are Conv1d/2d/3d and Linear; build the model from these or give its cost table yourself."
        )
