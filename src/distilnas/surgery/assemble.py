"""A student put together unit by unit, each layer refitted on what the student itself computes up to there.

What earlier cuts did to the features is known by then, so that every later linear layer, cut or not, can make up for
part of it: it is fitted to what the teacher's layer gave out, plus what the shortcut around it lacks.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from distilnas.surgery.chain import Unit, convolved_norms
from distilnas.surgery.moments import PER_COLUMN, MomentSum, columns_of, num_columns, rows_of, thinned
from distilnas.surgery.refit import RIDGE, fit_map, matrix_of, set_map


class _Reached(Exception):
    """Ends a forward at the layer that was asked for."""


@dataclass(kw_only=True, eq=False)
class Options:
    inner: bool = True  # refit all linear layers, else the last one only
    shortcut: bool = True
    renorm: bool = True
    ridge: float = RIDGE


@torch.no_grad()
def refit_in_order(unit: Unit, module: nn.Module, taught: list[Tensor], own: list[Tensor], opt: Options, cut_elems=None) -> None:
    """Refit ``module``, the student's form of ``unit`` (in place)."""
    order = _call_order(module, own[0][:2])
    norms = convolved_norms(module, own[0][:2])
    after = {norm: layer for layer, norm in norms.items()}
    linear = [n for n in order if _linear(module.get_submodule(n))]
    last = linear[-1]
    fitted = set()
    for name in order:
        layer = module.get_submodule(name)
        if _linear(layer) and (opt.inner or name == last):
            _refit(unit, module, name, norms.get(name), taught, own, opt, name == last)
            fitted.add(name)
        elif isinstance(layer, nn.modules.batchnorm._BatchNorm) and opt.renorm and after.get(name) not in fitted:
            _renorm(module, name, own)


def _refit(unit, module, name, norm, taught, own, opt, last):
    layer, teacher = module.get_submodule(name), unit.module.get_submodule(name)
    kept = module.kept_rows.get(name) if hasattr(module, 'kept_rows') else None
    start = matrix_of(layer)
    total = MomentSum(start.shape[1], start.shape[0])
    images = sum(len(x) for x in own)
    most = PER_COLUMN * (start.shape[1] + 1) / images
    shift = 0.0
    for x_t, x_s in zip(taught, own, strict=True):
        target = _output(unit.module, name, x_t)
        if kept is not None:
            target = target[:, kept] if target.ndim == 4 else target[..., kept]
        if norm is None and layer.bias is not None:
            pass
        if last and opt.shortcut and unit.droppable:
            scale = _norm_scale(module, norm)
            target = target + (x_t - x_s) / scale
        rows = rows_of(layer, target)
        samples = columns_of(layer, _input(module, name, x_s))
        step = thinned(len(samples), max(1, round(most * len(x_s))))
        total.add(samples[step], rows[step])
    fit = fit_map(total.moment(), total.cross(), start, ridge=opt.ridge)
    _set(layer, fit, module.get_submodule(norm) if norm else None, unit.module.get_submodule(norm) if norm else None, kept)


def _set(layer, fit, norm, teacher_norm, kept):
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(fit.weight).to(layer.weight).reshape(layer.weight.shape))
        const = torch.from_numpy(fit.constant).to(layer.weight)
        if layer.bias is not None:
            layer.bias.copy_(const)
        elif norm is not None:
            mean = teacher_norm.running_mean if kept is None else teacher_norm.running_mean[kept]
            norm.running_mean.copy_(mean - const)
        else:
            layer.bias = nn.Parameter(const)


def _norm_scale(module, norm):
    if norm is None:
        return 1.0
    bn = module.get_submodule(norm)
    s = bn.weight / (bn.running_var + bn.eps).sqrt()
    s = torch.where(s.abs() < 1e-3 * s.abs().max(), torch.full_like(s, 1e9), s)
    return s[:, None, None]


def _renorm(module, name, own):
    norm = module.get_submodule(name)
    n, s, q = 0, 0.0, 0.0
    for x in own:
        y = _input(module, name, x).double()
        n += y.shape[0] * y.shape[2] * y.shape[3]
        s = s + y.sum((0, 2, 3)); q = q + y.square().sum((0, 2, 3))
    mean = s / n
    norm.running_mean.copy_(mean); norm.running_var.copy_((q / n - mean.square()).clamp_min(0) * (n / max(1, n - 1)))


def _linear(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.groups == 1)


def _call_order(module, x):
    order = []
    hooks = [m.register_forward_pre_hook(lambda _m, _i, n=n: order.append(n)) for n, m in module.named_modules() if not list(m.children()) or isinstance(m, nn.modules.batchnorm._BatchNorm)]
    module(x)
    for h in hooks: h.remove()
    return order


def _input(module, name, x):
    box = []
    def hook(_m, inputs):
        box.append(inputs[0]); raise _Reached
    h = module.get_submodule(name).register_forward_pre_hook(hook)
    try: module(x)
    except _Reached: pass
    h.remove()
    return box[0]


def _output(module, name, x):
    box = []
    def hook(_m, inputs, output):
        box.append(output); raise _Reached
    h = module.get_submodule(name).register_forward_hook(hook)
    try: module(x)
    except _Reached: pass
    h.remove()
    return box[0]
