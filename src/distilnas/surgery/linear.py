"""Units replaced by one linear map of their channels at every place: the cheapest that keeps their borders."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from distilnas.errors import UsageError
from distilnas.networks.new_parts import LinearMap, MappedPart
from distilnas.surgery.chain import Unit
from distilnas.surgery.moments import PER_COLUMN, MomentSum, columns_of, moment_bytes, rows_of, thinned
from distilnas.surgery.refit import fit_held_out, matrix_of, set_map

LINEAR = "linear"


def linear_spans(units: Sequence[Unit]) -> list[tuple[int, int]]:
    """Units that one map can stand for, as (first, last): each by itself, and with all behind it in its block.

    The head, and units between whose borders no map fits, have none.
    """
    last = {unit.block: i for i, unit in enumerate(units)}
    spans = [span for i, unit in enumerate(units) for span in dict.fromkeys([(i, i), (i, last[unit.block])])]
    return [(i, j) for i, j in spans if units[j].border is not None and _stride(units[i], units[j])]


def new_linear(first: Unit, last: Unit | None = None) -> LinearMap:
    """A map that can stand for the units from ``first`` to ``last``; it averages by their stride.

    Until it is fitted it hands the channels on. Raises ``UsageError`` where no such map has the units' borders: they
    change the layout (a patch embedding), or the output's sizes are not the input's over a whole stride, rounded up.
    """
    last = last or first
    stride = _stride(first, last)
    if not stride:
        raise UsageError(
            "a linear map takes the place of a unit whose output is its input's size over a whole stride, but "
            f"{last.name!r} makes {last.out_shape} of {first.in_shape}: keep it, or cut inside it."
        )
    channels, layout = 0 if last.layout.kind == "nchw" else -1, last.layout
    sizes = first.in_shape[channels], last.out_shape[channels]
    module = LinearMap(*sizes, stride=stride, layout=layout, grid=last.layout.grid(first.in_shape))
    with torch.no_grad():
        module.map.weight.copy_(torch.eye(*reversed(sizes)).reshape(module.map.weight.shape))
        module.map.bias.zero_()  # type: ignore[union-attr]
    return module.requires_grad_(False).eval()


class PartFit:
    """Least squares of units' outputs on what a new part's map reads, batch by batch; one half of the batches judges
    the other."""

    def __init__(self, module: MappedPart, images: int) -> None:
        """``images``: so many come in all; of each only some places are used where that is enough."""
        rows, columns = matrix_of(module.map).shape
        self._module = module
        self._halves = [MomentSum(columns, rows) for _ in range(2)]
        self._most = PER_COLUMN * (columns + 1) / max(1, images)
        self._turns = itertools.cycle(self._halves)

    def add(self, given: Tensor, target: Tensor) -> None:
        """Take in what the units read and write, (B, ...) in their own layout."""
        layer = self._module.map
        samples, targets = columns_of(layer, self._module.read(given)), rows_of(layer, target)
        some = thinned(len(samples), max(1, round(self._most * len(given))))
        next(self._turns).add(samples[some], targets[some])

    def fitted(self) -> MappedPart:
        """The module with its new map; the ridge is towards its present one, and grows where images are few."""
        halves = [(half.moment(), half.cross()) for half in self._halves if half.samples]
        set_map(self._module.map, fit_held_out(halves, matrix_of(self._module.map)))
        return self._module


@torch.no_grad()
def fit_part(module: MappedPart, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> MappedPart:
    """``module`` with its map fitted so that ``inputs`` give units' ``outputs``, both batch by batch, raw layout."""
    fit = PartFit(module, sum(map(len, inputs)))
    for given, target in zip(inputs, outputs, strict=True):
        fit.add(given, target)
    return fit.fitted().to(inputs[0].device)


def fit_bytes(module: MappedPart) -> int:
    """What summing up for a fit takes: for each half of the images the inputs' moments and the outputs' products."""
    rows, columns = matrix_of(module.map).shape
    return 2 * (moment_bytes(module.map) + 8 * rows * (columns + 1))


def _stride(first: Unit, last: Unit) -> int:
    """Of a map from the first's input to the last's output; 0 where none fits."""
    if len(first.in_shape) != len(last.out_shape):
        return 0
    before, after = last.layout.grid(first.in_shape), last.layout.grid(last.out_shape)
    stride = max(1, round(before[0] / after[0]))
    return stride if after == tuple(-(-size // stride) for size in before) else 0
