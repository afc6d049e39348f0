"""A student put together unit by unit, each layer refitted on what the student itself computes up to there.

What earlier cuts did to the features is known by then, so that every later linear layer, cut or not, can make up for
part of it: it is fitted to what the teacher's layer gave out; the last one of a unit also makes up for what comes in by
the shortcut around it, and for units behind it that are left out.
"""

import copy
import itertools
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from distilnas.networks.new_parts import MappedPart
from distilnas.networks.plan import Skip
from distilnas.supernet.student import measure_norms
from distilnas.surgery.chain import Unit, run
from distilnas.surgery.exits import fit_head
from distilnas.surgery.grafts import Cuttable, cut_unit, kept_rows
from distilnas.surgery.library import Choice, Library, Place
from distilnas.surgery.linear import fit_part
from distilnas.surgery.moments import PER_COLUMN, MomentSum, columns_of, num_columns, rows_of, thinned
from distilnas.surgery.refit import fit_held_out, matrix_of, set_map
from distilnas.surgery.sides import resized
from distilnas.surgery.taps import axes_to, call_order, convolved_norms, input_of, output_of, slopes, with_output

_log = logging.getLogger(__name__)

LIMIT_BYTES = 4 * 2**30
_HELD, _FLOAT32 = 5, 4  # features of an image that are held at a time; bytes of a number
_TINY = 1e-12
_FLAT = 1e-3  # of the steepest channel's slope: channels below can't be corrected through it


@torch.no_grad()
def assemble(
    library: Library, choice: Choice, batches: Sequence[Tensor], *, limit_bytes: int = LIMIT_BYTES
) -> list[nn.Module]:
    """The student's units in a row (`Skip` where one is left out), refitted in order on ``batches`` of images.

    Features of all images (B, C, H, W) before and after one unit are held, the teacher's and the student's: of large
    maps only as many images are used as fit into ``limit_bytes``. Units before the first change are the teacher's, bit
    for bit. Behind an early end stands its new classifier.
    """
    images = [batch.to(memory_format=torch.channels_last) for batch in affordable(library, batches, limit_bytes)]
    taught = [resized(batch, choice.side) for batch in images]
    logits = None if choice.side is None else [run([unit.module for unit in library.units], batch) for batch in images]
    own, changed = list(taught), False
    replaced = {place.first: place for place in library.replaced(choice)}
    students: list[nn.Module] = []
    for i, numbers in enumerate(choice.kept):
        unit = library.units[i]
        after = [unit.module(x) for x in taught]
        if numbers is None:
            students.append(Skip())
            taught, changed = after, True
            continue
        if isinstance(numbers, str):
            module = _replacement(library, replaced[i], taught, own if changed else None)
            students.append(module)
            own, taught, changed = [module(x) for x in own], after, True
            continue
        if unit.border is None and logits is not None:  # the classifier makes up for the smaller images
            ahead = [wanted - at_side for wanted, at_side in zip(logits, after, strict=True)]
        else:
            ahead = _ahead(_dropped_behind(library.units, choice, i), after)
        changed = changed or ahead is not None or _is_cut(library.parts[i], numbers)
        module = cut_unit(unit, library.parts[i], numbers)
        if changed:
            parts = library.parts[i]
            refit = _UnitRefit(unit, module, _rows(parts, numbers), _without(unit, parts, numbers))
            refit.run(taught, own, ahead)
        own = [module(x) for x in own] if changed else after
        students.append(module)
        taught = after
    if choice.early:
        last = len(choice.kept) - 1
        rest = [unit.module for unit in library.units[last + 1 :]]
        wanted = logits or [run(rest, x) for x in taught]
        head = copy.deepcopy(library.heads[last])
        students.append(fit_head(head, [head.pooled(x) for x in own], wanted))
    return students


def _replacement(library: Library, place: Place, taught: list[Tensor], own: list[Tensor] | None) -> nn.Module:
    """The library's module; fitted anew to what the teacher's units make of ``taught``, where ``own`` differs."""
    module = copy.deepcopy(library.replacements[place].module)
    assert isinstance(module, MappedPart)
    if own is None:
        return module
    units = [unit.module for unit in library.units[place.first : place.last + 1]]
    measure_norms(module.layers_before(), own)
    return fit_part(module, own, [run(units, x) for x in taught])


def affordable(library: Library, batches: Sequence[Tensor], limit_bytes: int) -> list[Tensor]:
    """As many of ``batches`` from the first as fit, in at least two parts, so that one half can judge the other."""
    largest = max(math.prod(shape) for unit in library.units for shape in (unit.in_shape, unit.out_shape))
    most = max(2, limit_bytes // (_HELD * _FLOAT32 * largest))
    images = torch.cat(list(batches)) if len(batches) == 1 or most < len(batches[0]) * 2 else None
    if images is not None:
        return list(images[:most].chunk(2))
    number = itertools.accumulate(map(len, batches))
    kept = [batch for batch, upto in zip(batches, number, strict=True) if upto <= most]
    if len(kept) < len(batches):
        _log.warning(
            "students are put together on %d of %d images, as memory allows",
            sum(map(len, kept)),
            sum(map(len, batches)),
        )
    return kept


def _ahead(dropped: Sequence[Unit], after: list[Tensor]) -> list[Tensor] | None:
    """What the teacher's units that the student lacks behind this one would add to what it gives out."""
    if not dropped:
        return None
    return [run([unit.module for unit in dropped], x) - x for x in after]


def _is_cut(parts: Sequence[Cuttable], numbers: tuple[int, ...]) -> bool:
    return any(part.graft(number) for part, number in zip(parts, numbers, strict=True))


def _dropped_behind(units: Sequence[Unit], choice: Choice, i: int) -> list[Unit]:
    behind = itertools.takewhile(lambda pair: pair[1] is None, zip(units[i + 1 :], choice.kept[i + 1 :], strict=False))
    return [unit for unit, _ in behind]


def _without(unit: Unit, parts: Sequence[Cuttable], numbers: tuple[int, ...]) -> nn.Module:
    """The teacher's unit without the branches that the student lacks."""
    if all(numbers):
        return unit.module
    return cut_unit(unit, parts, [number and part.options[0] for part, number in zip(parts, numbers, strict=True)])


def _rows(parts: Sequence[Cuttable], numbers: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Rows that cut layers still write, by path."""
    rows: dict[str, np.ndarray] = {}
    for part, number in zip(parts, numbers, strict=True):
        graft = part.graft(number)
        rows |= kept_rows(part.group, graft) if graft else {}
    return rows


@dataclass(frozen=True, eq=False)
class _UnitRefit:
    """``module``, the student's form of ``unit``, whose cut layers still write ``rows``; it is changed in place.

    ``frame`` is the teacher's, without the branches that ``module`` has not.
    """

    unit: Unit
    module: nn.Module
    rows: Mapping[str, np.ndarray]
    frame: nn.Module

    def run(self, taught: list[Tensor], own: list[Tensor], ahead: list[Tensor] | None) -> None:
        """Refit layer after layer, batch norms behind what can't be refitted in between.

        ``taught``, ``own``: what teacher and student read here; ``ahead``: what is wanted beyond the unit's output.
        """
        order = call_order(self.module, own[0][:2])
        norms = convolved_norms(self.module, own[0][:2])
        linear = [path for path in order if _can_refit(self.module.get_submodule(path))]
        behind = {norms[path] for path in linear if path in norms}
        for path in order:
            if path in linear:
                extra = self._extra(path, taught, own, ahead) if path == linear[-1] else None
                self._refit(path, norms.get(path), taught, own, extra)
            elif path in self._norms(order) and path not in behind:
                self._shift_norm(path, taught, own)

    def _norms(self, order: list[str]) -> list[str]:
        parts = {path: self.module.get_submodule(path) for path in order}
        norms = [path for path, part in parts.items() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
        return [path for path in norms if parts[path].running_mean is not None]

    def _refit(
        self, path: str, norm: str | None, taught: list[Tensor], own: list[Tensor], extra: list[Tensor] | None
    ) -> None:
        layer, start = self.module.get_submodule(path), matrix_of(self.module.get_submodule(path))
        halves = [MomentSum(num_columns(layer), len(start)) for _ in range(2)]
        most = PER_COLUMN * (num_columns(layer) + 1) / sum(map(len, own))
        for at, (x, y) in enumerate(zip(taught, own, strict=True)):
            targets = rows_of(layer, self._wanted(path, x, None if extra is None else extra[at]))
            samples = columns_of(layer, input_of(self.module, path, y))
            step = thinned(len(samples), max(1, round(most * len(x))))
            halves[at % 2].add(samples[step], targets[step])
        place = norm is not None or isinstance(layer.bias, Tensor)  # a new bias would be no counted parameter
        fit = fit_held_out([(half.moment(), half.cross()) for half in halves if half.samples], start, constant=place)
        if norm is not None:  # its mean is the teacher's before the constant goes there
            self._norm_as_taught(norm, path)
        set_map(layer, fit, self.module.get_submodule(norm) if norm else None)

    def _wanted(self, path: str, x: Tensor, extra: Tensor | None) -> Tensor:
        """What the teacher's layer writes of what is left of it, with ``extra``."""
        target = output_of(self.unit.module, path, x)
        if extra is not None:
            target = target + extra
        if path not in self.rows:
            return target
        kept = torch.from_numpy(self.rows[path]).to(target.device)
        return target.index_select(-1 if isinstance(self.unit.module.get_submodule(path), nn.Linear) else 1, kept)

    def _extra(
        self, path: str, taught: list[Tensor], own: list[Tensor], ahead: list[Tensor] | None
    ) -> list[Tensor] | None:
        """What the unit's last layer should write beyond the teacher's; None for nothing, or where it has no say."""
        less = self.frame is not self.unit.module
        if not self.unit.droppable and ahead is None and not less:
            return None
        few = taught[0][:2]
        slope = slopes(self.frame, path, few)
        if slope is None:
            return None
        inverse = torch.where(slope.abs() > _FLAT * slope.abs().max(), 1 / slope, 0)
        axes = axes_to(self.unit.module(few), output_of(self.unit.module, path, few))
        assert axes is not None
        if less:
            lost = [self._lost(path, x) for x in taught]
            ahead = lost if ahead is None else [lack + more for lack, more in zip(lost, ahead, strict=True)]
        missing = [x - y if self.unit.droppable else 0.0 for x, y in zip(taught, own, strict=True)]
        if ahead is not None:
            missing = [lack + more for lack, more in zip(missing, ahead, strict=True)]
        return [lack.permute(axes) * inverse for lack in missing if isinstance(lack, Tensor)]

    def _lost(self, path: str, x: Tensor) -> Tensor:
        """What the unit gives beyond its frame, the last layer ``path`` of which writes what it does in the unit."""
        return self.unit.module(x) - with_output(self.frame, path, x, output_of(self.unit.module, path, x))

    def _norm_as_taught(self, norm: str, path: str) -> None:
        mean = self._kept(_statistic(self.unit.module, norm, "running_mean"), by=path)
        _statistic(self.module, norm, "running_mean").copy_(mean)

    def _shift_norm(self, norm: str, taught: list[Tensor], own: list[Tensor]) -> None:
        """Move the statistics of a batch norm as far as the student's inputs have moved from the teacher's.

        The teacher's own statistics need not be those of these images: they were taken while it was trained.
        """
        before, after = _input_statistics(self.unit.module, norm, taught), _input_statistics(self.module, norm, own)
        mean, variance = (self._kept(value, by=norm) for value in before)
        _statistic(self.module, norm, "running_mean").add_(after[0] - mean)
        _statistic(self.module, norm, "running_var").mul_(after[1].clamp_min(_TINY) / variance.clamp_min(_TINY))

    def _kept(self, values: Tensor, *, by: str) -> Tensor:
        """Entries of the teacher's ``values`` for the channels that are left in the layer ``by``."""
        if by not in self.rows:
            return values
        return values[torch.from_numpy(self.rows[by]).to(values.device)]


def _statistic(module: nn.Module, norm: str, name: str) -> Tensor:
    found = getattr(module.get_submodule(norm), name)
    assert isinstance(found, Tensor)
    return found


def _input_statistics(module: nn.Module, norm: str, features: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and variance, over all images and places, of each channel that the batch norm reads."""
    number, total, squares = 0, torch.zeros(()), torch.zeros(())
    for x in features:
        y = input_of(module, norm, x).transpose(0, 1).flatten(1)
        number += y.shape[1]
        total = total + y.sum(1, dtype=torch.float64)
        squares = squares + y.double().square().sum(1)
    mean = total / number
    return mean, squares / number - mean.square()


def _can_refit(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.groups == 1)
