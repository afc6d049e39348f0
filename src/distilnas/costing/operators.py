"""Counting products where they happen: every tensor operation of a forward is counted, known to be free, or refused.

However a network is written (layers called, ``F.linear`` on a layer's weight, ``einsum``, fused attention), its
convolutions, linear layers and attention reach PyTorch's dispatcher as a few matrix products. Their formulas are those
of ``torch.utils.flop_counter`` (which counts a multiply-add as two), plus products with vectors, which it lacks.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from distilnas.errors import UsageError

_aten = torch.ops.aten
_VECTORS: dict[Any, Callable[..., int]] = {
    _aten.mv: lambda matrix, vector, **_: matrix.numel(),
    _aten.addmv: lambda start, matrix, vector, **_: matrix.numel(),
    _aten.dot: lambda a, b, **_: a.numel(),
    _aten.vdot: lambda a, b, **_: a.numel(),
    _aten.addbmm: lambda start, a, b, **_: a.numel() * b.shape[-1],
}
_CONVOLUTIONS = {_aten.convolution, _aten._convolution}

# Neither views nor pointwise (PyTorch says of an operator whether it is), and without products of matrices: norms,
# pooling, reductions, what moves, selects, resizes or makes values. Names without the underscores around them.
_FREE_NAMES = """
batch_norm native_batch_norm native_batch_norm_legit native_batch_norm_legit_no_training cudnn_batch_norm
batch_norm_with_update native_layer_norm native_group_norm fused_rms_norm rms_norm adaptive_avg_pool2d
adaptive_avg_pool3d adaptive_max_pool2d adaptive_max_pool3d avg_pool2d avg_pool3d max_pool2d_with_indices
max_pool3d_with_indices fractional_max_pool2d softmax safe_softmax log_softmax sum nansum mean prod var std var_mean
std_mean norm linalg_vector_norm logsumexp max min amax amin aminmax argmax argmin median mode any all count_nonzero
cumsum cumprod cummax cummin hardswish glu prelu prelu_kernel log_sigmoid_forward rrelu_with_noise native_dropout
floor_divide cat stack copy clone to_copy roll flip rot90 repeat repeat_interleave tril triu trace diag_embed as_strided
transpose t squeeze unsqueeze swapaxes swapdims detach unsafe_view unsafe_split unsafe_split_with_sizes reshape_alias
lift_fresh lift_fresh_copy resize set index index_select index_put index_add index_copy index_fill gather scatter
scatter_add scatter_reduce take masked_select masked_scatter embedding sort topk kthvalue argsort searchsorted bucketize
one_hot constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d
replication_pad3d pixel_shuffle pixel_unshuffle channel_shuffle im2col col2im grid_sampler_2d grid_sampler_3d
affine_grid_generator upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_nearest_exact1d
upsample_nearest_exact2d upsample_nearest_exact3d upsample_linear1d upsample_bilinear2d upsample_bilinear2d_aa
upsample_trilinear3d upsample_bicubic2d upsample_bicubic2d_aa empty empty_strided zeros ones full eye arange linspace
logspace scalar_tensor fill zero rand randn randint randperm normal uniform bernoulli empty_like zeros_like ones_like
full_like rand_like randn_like new_empty new_empty_strided new_zeros new_ones new_full local_scalar_dense assert_async
"""
_FREE = frozenset(_FREE_NAMES.split())


class Products(TorchDispatchMode):
    """Counts, while it is entered, the multiply-adds of every tensor operation.

    Attributes:
        macs: of all products.
        attention_macs: the part whose two factors both depend on the image, as queries, keys and values do.
            Convolutions are never in it, nor are weights that a network mixes for each image.
        conv_biases: values given out by convolutions with a bias.

    The network is on the meta device. Raises ``UsageError`` at an operation that is neither counted nor known to be
    free. Products written as sums of pointwise ones cannot be told from scaling and are free, as in PyTorch's counter.
    """

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        self.macs = 0
        self.attention_macs = 0
        self.conv_biases = 0
        self._seen = {storage_of(image)}  # storages that depend on the image

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = without_values(kwargs or {})
        rule = _rule(func)
        if rule is None:
            return self._decompose(func, args, kwargs)
        output = func(*args, **kwargs)
        if rule is not _nothing:
            self._add(func, rule(*args, **kwargs, out_val=output), args, output)
        if not takes_shape_only(func) and any(storage_of(tensor) in self._seen for tensor in tensors_in(args)):
            self._seen.update(storage_of(tensor) for tensor in tensors_in((output,)))
        return output

    def _decompose(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with self:
            output = func.decompose(*args, **kwargs)
        if output is NotImplemented:
            raise UsageError(
                f"cannot count the multiply-adds of the operation {func}: it is neither a product with a rule "
                "nor known to be free; give it a rule (torch.utils.flop_counter.register_flop_formula), or build the "
                "model without it."
            )
        return output

    def _add(self, func: Any, macs: int, args: tuple[Any, ...], output: Any) -> None:
        self.macs += macs
        if func.overloadpacket in _CONVOLUTIONS:
            self.conv_biases += output.numel() if args[2] is not None else 0
        elif all(storage_of(factor) in self._seen for factor in _factors(func, args)):
            self.attention_macs += macs


def without_values(kwargs: dict[str, Any]) -> dict[str, Any]:
    """What a network makes anew, such as positions, is on the meta device like everything else."""
    return kwargs | {"device": torch.device("meta")} if kwargs.get("device") else kwargs


@cache
def _rule(func: Any) -> Callable[..., int] | None:
    """Multiply-adds from an operation's arguments (and ``out_val``); None: neither counted nor free."""
    packet = func.overloadpacket
    if packet in _VECTORS:
        return _VECTORS[packet]
    if packet in flop_registry:
        return lambda *args, **kwargs: flop_registry[packet](*args, **kwargs) // 2
    free = torch.Tag.pointwise in func.tags or func.is_view or packet.__name__.strip("_") in _FREE
    return _nothing if func.namespace in ("aten", "prim", "prims") and free else None


def _nothing(*args: Any, **kwargs: Any) -> int:
    return 0


def _factors(func: Any, args: tuple[Any, ...]) -> tuple[Tensor, Tensor]:
    """The two that are multiplied; ``addmm`` and its like begin with what is added."""
    first = 1 if func.overloadpacket.__name__.startswith(("add", "badd")) else 0
    return args[first], args[first + 1]


def storage_of(tensor: Tensor) -> StorageWeakRef:
    """What tells tensors of one memory from others, and never comes again as long as it is held."""
    return StorageWeakRef(tensor.untyped_storage())


def tensors_in(values: Any) -> Iterator[Tensor]:
    """Those among arguments, inside of lists and tuples too."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from tensors_in(value)


@cache
def takes_shape_only(func: Any) -> bool:
    """Whether an operation reads no values of its first argument."""
    name = func.overloadpacket.__name__
    return name.endswith("_like") or name.startswith("new_")
