"""A unit cut to fewer inner channels with the following map refitted: every number of channels from one elimination."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from distilnas.networks.plan import Constant
from distilnas.surgery.chain import Unit
from distilnas.surgery.cut import cut
from distilnas.surgery.eliminate import Reader, eliminate
from distilnas.surgery.groups import Branch, InnerGroup, Slice
from distilnas.surgery.moments import Moment
from distilnas.surgery.refit import RIDGE, Fit, fit_map, matrix_of, own_cross, set_map
from distilnas.surgery.taps import output_of

_FEW = 0.1  # of a unit's weights: less is saved by cutting a narrow branch than rating it costs
_WIDE = 2048  # columns from which several channels leave in one step of the elimination


@dataclass(frozen=True, kw_only=True, eq=False)
class Graft:
    """The elements ``kept`` of a group (in order), the layers that read them fitted to what they did before.

    ``fits``: by path; the constant is what goes behind the layer's weights beyond its own bias. Where no element is
    kept, that of the group's branch, which has no columns. ``error``: share of the last layer's output (its mean square
    about the mean) that is lost on the calibration images.
    """

    kept: np.ndarray
    fits: Mapping[str, Fit]
    error: float

    @torch.no_grad()
    def apply(self, module: nn.Module, group: InnerGroup, norms: Mapping[str, str]) -> None:
        """Cut ``module``, a copy of the group's unit, in place; ``norms`` are that unit's.

        Where another group of the unit was cut before, its fits hold for the outputs that are left.
        """
        cut(module, group, self.kept)
        if not len(self.kept):
            assert group.branch is not None
            value = _constant(module, group.branch).value
            value.copy_(torch.from_numpy(self.fits[group.branch.path].constant).reshape(value.shape))
            return
        for path, fit in self.fits.items():
            layer, norm = module.get_submodule(path), norms.get(path)
            set_map(layer, fit, module.get_submodule(norm) if norm else None)


@dataclass(frozen=True, kw_only=True, eq=False)
class Cuttable:
    """An inner group and what was made of it: ``grafts[i]`` keeps ``options[i + 1]`` of its elements."""

    group: InnerGroup
    options: tuple[int, ...]
    grafts: tuple[Graft, ...]

    def graft(self, number: int) -> Graft | None:
        """That with ``number`` elements, None for all."""
        at = self.options.index(number)
        return self.grafts[at - 1] if at else None


def make_grafts(
    unit: Unit, group: InnerGroup, options: Sequence[int], moments: Mapping[str, Moment], *, ridge: float = RIDGE
) -> Cuttable:
    """All ``options`` (numbers of elements, all first) of ``group`` from the moments of the layers that read it.

    The order in which elements go is that of what the last of these layers would lose, each of its channels on the
    scale that the batch norm behind it gives it. The others, which feed back into the channels, are refitted only.
    """
    last = group.read[-1]
    layer = unit.module.get_submodule(last.path)
    scale = norm_scale(unit.module, unit.norms.get(last.path))
    columns = columns_of_elements(layer, last)
    reader = Reader(weight=matrix_of(layer) * scale[:, None], moment=moments[last.path], columns=columns)
    at_once = max(1, round(columns.size / _WIDE))
    found = eliminate([reader], keep=min(options), at_once=at_once)
    grafts = []
    for number in options[1:]:
        kept = found.kept(number)
        if number or group.branch is None:
            fits = {r.path: _fit_kept(unit.module, r, kept, moments[r.path], ridge) for r in group.read}
        else:
            fits = {group.branch.path: _mean_of(unit, group.branch, last.path, moments[last.path])}
        grafts.append(Graft(kept=kept, fits=fits, error=found.error(number)))
    return Cuttable(group=group, options=tuple(options), grafts=tuple(grafts))


def worth_cutting(unit: Unit, group: InnerGroup) -> bool:
    """Whether the layers that write and read ``group``, or its branch, hold more than a few of the unit's weights."""
    paths = {part.path for part in (*group.made, *group.read)}
    branch = f"{group.branch.path}." if group.branch else "."
    inside = sum(
        p.numel()
        for name, p in unit.module.named_parameters()
        if name.rpartition(".")[0] in paths or name.startswith(branch)
    )
    return inside >= _FEW * sum(p.numel() for p in unit.module.parameters())


def cut_unit(unit: Unit, parts: Sequence[Cuttable], numbers: Sequence[int]) -> nn.Module:
    """A copy of ``unit`` that keeps so many elements of each of its groups ``parts``."""
    module = unit.copy()
    rows: dict[str, np.ndarray] = {}
    for part, number in zip(parts, numbers, strict=True):
        graft = part.graft(number)
        if graft is not None:
            fits = {path: _rows_of(fit, rows.get(path)) for path, fit in graft.fits.items()}
            replace(graft, fits=fits).apply(module, part.group, unit.norms)
            rows |= kept_rows(part.group, graft)
    return module


def kept_rows(group: InnerGroup, graft: Graft) -> dict[str, np.ndarray]:
    """What the layers that write the group still write: positions in the whole layer's output, by path."""
    return {part.path: np.sort(part.index[graft.kept].ravel()) for part in group.made}


def columns_of_elements(layer: nn.Module, read: Slice) -> np.ndarray:
    """(elements, b) columns of ``layer``'s weight as a matrix that belong to each element of the group it reads."""
    taps = int(np.prod(layer.weight.shape[2:]))  # type: ignore[union-attr,arg-type]
    columns = read.index[:, :, None] * taps + np.arange(taps)
    return columns.reshape(len(read.index), -1)


def norm_scale(module: nn.Module, norm: str | None) -> np.ndarray:
    """(C,) what the batch norm at ``norm`` multiplies each channel with, without sign; (1,) of 1 without one."""
    if norm is None:
        return np.ones(1)
    at = module.get_submodule(norm)
    variance, weight = at.running_var, at.weight
    assert isinstance(variance, Tensor)
    scale = (variance.double() + float(at.eps)).rsqrt()  # type: ignore[arg-type]
    scale = scale * weight.double() if isinstance(weight, Tensor) else scale
    return scale.detach().abs().cpu().numpy()


def _fit_kept(module: nn.Module, read: Slice, kept: np.ndarray, moment: Moment, ridge: float) -> Fit:
    layer = module.get_submodule(read.path)
    columns = np.sort(columns_of_elements(layer, read)[kept].ravel())
    weight = matrix_of(layer)
    inputs, cross = own_cross(moment, weight, columns)
    fit = fit_map(inputs, cross, weight[:, columns], ridge=ridge)
    bias = layer.bias
    own = bias.detach().double().cpu().numpy() if isinstance(bias, Tensor) else 0.0
    return replace(fit, constant=fit.constant + own)


def _mean_of(unit: Unit, branch: Branch, last: str, moment: Moment) -> Fit:
    """What ``branch`` gives in the mean of its last layer's inputs, as a map that reads nothing."""
    module = unit.copy()
    layer, norm = module.get_submodule(last), unit.norms.get(last)
    weight, bias = matrix_of(layer), layer.bias
    own = bias.detach().double().cpu().numpy() if isinstance(bias, Tensor) else 0.0
    flat = Fit(weight=0 * weight, constant=weight @ moment.mean + own, ridge=0.0)
    set_map(layer, flat, module.get_submodule(norm) if norm else None)
    given = output_of(module, branch.path, unit.example())
    axis = given.ndim - len(branch.shape)
    value = given.movedim(axis, 0).reshape(given.shape[axis], -1)[:, 0].double().cpu().numpy()
    return Fit(weight=np.zeros((len(value), 0)), constant=value, ridge=0.0)


def _constant(module: nn.Module, branch: Branch) -> Constant:
    found = module.get_submodule(branch.path)
    assert isinstance(found, Constant)
    return found


def _rows_of(fit: Fit, rows: np.ndarray | None) -> Fit:
    return fit if rows is None else replace(fit, weight=fit.weight[rows], constant=fit.constant[rows])
