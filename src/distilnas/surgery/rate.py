"""How much a candidate hurts: it alone in the teacher, divergence of the logits on held-out images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from distilnas.runtime.progress import Progress, SilentProgress
from distilnas.surgery.chain import Unit, quick, run


@dataclass(frozen=True, kw_only=True, eq=False)
class Trial:
    """``modules`` in the place of the teacher's units ``first`` to ``last``, both included; none: they are left out."""

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
def rate(
    units: Sequence[Unit],
    trials: Sequence[Trial],
    batches: Sequence[Tensor],
    *,
    dtype: torch.dtype = torch.float32,
    progress: Progress | None = None,
) -> list[Rating]:
    """Rate every trial on ``batches`` of held-out images (B, C, H, W), calculating in ``dtype``.

    For a trial only what follows it runs, and what comes before it once for all. Memory is that of one batch.
    """
    bench = _Bench(units, trials, batches[0][:2], dtype)
    divergences: list[list[np.ndarray]] = [[] for _ in trials]
    with (progress or SilentProgress()).task("rating candidates", len(batches)) as task:
        for images in batches:
            for number, values in bench.look(images.to(dtype=dtype, memory_format=torch.channels_last)):
                divergences[number].append(values)
            task.advance()
    return [rating_from(values) for values in divergences]


def divergence(target: Tensor, logits: Tensor) -> Tensor:
    """(B,) Kullback-Leibler divergence of softmax(``logits``) from ``target`` (B, classes), log probabilities."""
    return (target.exp() * (target - functional.log_softmax(logits, 1))).sum(1)


def rating_from(values: Sequence[np.ndarray]) -> Rating:
    """The rating of divergences on each image, batch by batch."""
    images = np.concatenate(values)
    stderr = float(images.std(ddof=1) / np.sqrt(len(images)))
    return Rating(mean=float(images.mean()), stderr=stderr, batches=np.array([batch.mean() for batch in values]))


class _Bench:
    """The teacher's units and all trials as quick copies."""

    def __init__(self, units: Sequence[Unit], trials: Sequence[Trial], sample: Tensor, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._quick: dict[int, nn.Module] = {}  # of the teacher's modules, which many trials have, by id
        self._trials: list[list[tuple[int, tuple[nn.Module, ...], int]]] = []  # by first unit: number, modules, last
        samples = [sample.float()]
        for unit in units:
            self._quick[id(unit.module)] = quick(unit.module, samples[-1], dtype)
            samples.append(unit.module(samples[-1]))
        self._units = list(self._quick.values())
        for i, x in enumerate(samples[:-1]):
            own = [(number, trial) for number, trial in enumerate(trials) if trial.first == i]
            self._trials.append([(number, self._quick_row(trial.modules, x), trial.last) for number, trial in own])

    def look(self, images: Tensor) -> Iterator[tuple[int, np.ndarray]]:
        """Number of each trial and its divergence on each image."""
        target = functional.log_softmax(run(self._units, images).float(), 1)
        feature = images
        for unit, trials in zip(self._units, self._trials, strict=True):
            for number, modules, last in trials:
                logits = run((*modules, *self._units[last + 1 :]), feature).float()
                yield number, divergence(target, logits).double().cpu().numpy()
            feature = unit(feature)

    def _quick_row(self, modules: Sequence[nn.Module], x: Tensor) -> tuple[nn.Module, ...]:
        row = []
        for module in modules:
            known = self._quick.get(id(module))
            row.append(quick(module, x, self._dtype) if known is None else known)
            x = module(x)
        return tuple(row)
