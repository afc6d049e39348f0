"""Second moments of what linear layers read, taken in one pass over images: all that refits need to know of them."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy import linalg
from timm.layers import Conv2dSame, pad_same
from torch import Tensor, nn
from torch.nn import functional

from distilnas.errors import UsageError

PER_COLUMN = 32  # samples a column of the matrix from which more of a map's places add little
_FLOAT64 = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class Moment:
    """Means over ``samples`` inputs x (d,) with a constant 1 behind them: ``second`` (d + 1, d + 1) of x x^T."""

    second: np.ndarray
    samples: int

    def covariance(self) -> np.ndarray:
        """(d, d) about the mean, which is what a map with a free constant has to do with."""
        mean = self.mean
        return self.second[:-1, :-1] - np.outer(mean, mean)

    @property
    def mean(self) -> np.ndarray:
        return self.second[:-1, -1]


def columns_of(layer: nn.Module, inputs: Tensor) -> Tensor:
    """What ``layer`` reads for each place that it writes, (samples, columns): its weight (outputs, columns) times that.

    Convolutions (without groups) read patches: input channel by input channel, each k x k row by row. Raises
    ``UsageError`` for other layers than such convolutions and linear ones.
    """
    if isinstance(layer, nn.Linear):
        return inputs.reshape(-1, inputs.shape[-1])
    if not isinstance(layer, nn.Conv2d) or layer.groups != 1:
        raise UsageError(f"a linear or ungrouped convolution layer can be refitted, not {type(layer).__name__}.")
    if max(layer.kernel_size) == 1 and not any(_padding(layer)):
        steps = inputs[:, :, :: layer.stride[0], :: layer.stride[1]]
        return steps.permute(0, 2, 3, 1).reshape(-1, inputs.shape[1])
    if isinstance(layer, Conv2dSame):
        inputs = pad_same(inputs, list(layer.kernel_size), list(layer.stride), list(layer.dilation))
    patches = functional.unfold(inputs, layer.kernel_size, layer.dilation, _padding(layer), layer.stride)
    return patches.transpose(1, 2).reshape(-1, patches.shape[1])


def rows_of(layer: nn.Module, outputs: Tensor) -> Tensor:
    """What ``layer`` writes, (samples, outputs), in the order of ``columns_of``."""
    if isinstance(layer, nn.Linear):
        return outputs.reshape(-1, outputs.shape[-1])
    return outputs.permute(0, 2, 3, 1).reshape(-1, outputs.shape[1])


def num_columns(layer: nn.Module) -> int:
    """Columns of the layer's weight as a matrix."""
    return int(np.prod(layer.weight.shape[1:]))  # type: ignore[union-attr,arg-type]


def ridged_factor(matrix: np.ndarray, ridge: float) -> np.ndarray:
    """Cholesky's lower factor of a symmetric ``matrix`` with ``ridge`` of its mean diagonal added to the diagonal.

    Ten times as much, and again, where the matrix is indefinite by rounding.
    """
    scale = max(float(np.trace(matrix)) / len(matrix), 1e-300)
    while True:
        shifted = matrix.copy()
        shifted.flat[:: len(matrix) + 1] += ridge * scale
        try:
            return np.tril(linalg.cholesky(shifted, lower=True, overwrite_a=True, check_finite=False))
        except linalg.LinAlgError:
            ridge = max(10 * ridge, 1e-12)


class MomentSum:
    """Adds up the moment of samples (n, d), and with targets (n, o) their products: float32 in a batch, then float64.

    Samples are taken from the mean of the first batch on, so that large means cost no digits.
    """

    def __init__(self, columns: int, outputs: int = 0) -> None:
        self.samples = 0
        self._shift: Tensor | None = None
        self._second = np.zeros((columns + 1, columns + 1))
        self._cross = np.zeros((outputs, columns + 1))

    def add(self, samples: Tensor, targets: Tensor | None = None) -> None:
        """Take in samples (n, d) and, where the sum has targets, (n, o)."""
        samples = samples.float()
        if self._shift is None:
            self._shift = samples.mean(0)
        samples = functional.pad(samples - self._shift, (0, 1), value=1.0)
        self.samples += len(samples)
        self._second += (samples.T @ samples).double().cpu().numpy()
        if targets is not None:
            self._cross += (targets.float().T @ samples).double().cpu().numpy()

    def moment(self) -> Moment:
        """Of all samples so far."""
        back = self._back()
        second = back @ (self._second / max(1, self.samples)) @ back.T
        return Moment(second=(second + second.T) / 2, samples=self.samples)

    def cross(self) -> np.ndarray:
        """(o, d + 1): mean of target x^T, with the constant behind."""
        return self._cross / max(1, self.samples) @ self._back().T

    def _back(self) -> np.ndarray:
        """(d + 1, d + 1): what makes samples with their constant of shifted ones."""
        back = np.eye(len(self._second))
        if self._shift is not None:
            back[:-1, -1] = self._shift.double().cpu().numpy()
        return back


def thinned(samples: int, most: int) -> slice:
    """Every so-many-th of ``samples``, at most ``most`` of them; an odd step, not to hit one column of maps."""
    step = max(1, -(-samples // max(1, most)))
    return slice(None, None, step + (step % 2 == 0))


def take_moments(
    model: Callable[[Tensor], Any], layers: Mapping[str, nn.Module], batches: Sequence[Tensor]
) -> dict[str, Moment]:
    """The moment of what each of ``layers`` (inside ``model``) reads while ``model`` runs on ``batches`` of images.

    Of maps with many places only `PER_COLUMN` samples a column are used, evenly spread. Memory is that of the matrices,
    `moment_bytes` each, whatever the number of images.
    """
    sums = {name: MomentSum(num_columns(layer)) for name, layer in layers.items()}
    images = sum(map(len, batches))
    with ExitStack() as stack, torch.no_grad():
        for name, layer in layers.items():
            most = PER_COLUMN * (num_columns(layer) + 1) / images
            stack.enter_context(layer.register_forward_pre_hook(partial(_read, sums[name], most)))
        for batch in batches:
            model(batch)
    return {name: total.moment() for name, total in sums.items()}


def moment_bytes(layer: nn.Module) -> int:
    """What summing up the layer's moment takes."""
    return 2 * _FLOAT64 * (num_columns(layer) + 1) ** 2


def _read(total: MomentSum, most_per_image: float, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    samples = columns_of(layer, inputs[0])
    total.add(samples[thinned(len(samples), max(1, round(most_per_image * len(inputs[0]))))])


def _padding(layer: nn.Conv2d) -> tuple[int, ...]:
    if layer.padding == "same" or layer.padding == "valid":
        half = (layer.dilation[i] * (layer.kernel_size[i] - 1) // 2 for i in range(2))
        return tuple(half) if layer.padding == "same" else (0, 0)
    return (0, 0) if isinstance(layer, Conv2dSame) else tuple(int(x) for x in layer.padding)
