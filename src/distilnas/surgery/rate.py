"""How much a candidate hurts: it alone in the teacher, divergence of the logits on held-out images."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from distilnas.surgery.chain import Unit, quick, run
from distilnas.tables import CellRatings


@dataclass(frozen=True, kw_only=True, eq=False)
class Trial:
    """``modules`` in the place of the teacher's units ``first`` to ``last`` (both included; none: they are left out)."""

    first: int
    last: int
    modules: tuple[nn.Module, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Rating:
    """Mean KL divergence of the logits, its standard error over images, and the mean on each batch (K,)."""

    mean: float
    stderr: float
    batches: np.ndarray


@torch.no_grad()
def rate(units: Sequence[Unit], trials: Sequence[Trial], batches: Iterable[Tensor], *, dtype: torch.dtype) -> list[Rating]:
    """Rate every trial on ``batches`` of held-out images (B, C, H, W), calculating in ``dtype``.

    The teacher runs once; for a trial only what follows it does. Memory is that of one batch.
    """
    modules: list[nn.Module] = []
    starts: list[list[tuple[int, tuple[nn.Module, ...]]]] = [[] for _ in units]
    divergences: list[list[np.ndarray]] = [[] for _ in trials]
    for at, images in enumerate(batches):
        if at == 0:
            modules, starts = _prepare(units, trials, images[:2], dtype)
        features = [images.to(dtype=dtype, memory_format=torch.channels_last)]
        for module in modules:
            features.append(module(features[-1]))
        target = functional.log_softmax(features[-1].float(), 1)
        for first, (feature, inside) in enumerate(zip(features, starts, strict=False)):
            for number, parts in inside:
                logits = run((*parts, *modules[trials[number].last + 1 :]), feature).float()
                divergences[number].append(divergence(target, logits).double().cpu().numpy())
    return [_summary(values) for values in divergences]


def divergence(target: Tensor, logits: Tensor) -> Tensor:
    """(B,) Kullback-Leibler divergence of softmax(``logits``) from ``target`` (B, classes), log probabilities."""
    return (target.exp() * (target - functional.log_softmax(logits, 1))).sum(1)


def _prepare(units, trials, sample, dtype):
    modules, starts, x = [], [], sample.float()
    for i, unit in enumerate(units):
        modules.append(quick(unit.module, x, dtype))
        inside = []
        for number, trial in enumerate(trials):
            if trial.first == i:
                y, parts = x, []
                for module in trial.modules:
                    parts.append(quick(module, y, dtype))
                    y = module(y)
                inside.append((number, tuple(parts)))
        starts.append(inside)
        x = unit.module(x)
    return modules, starts


def _summary(values: list[np.ndarray]) -> Rating:
    images = np.concatenate(values)
    stderr = float(images.std(ddof=1) / np.sqrt(len(images)))
    return Rating(mean=float(images.mean()), stderr=stderr, batches=np.array([batch.mean() for batch in values]))
