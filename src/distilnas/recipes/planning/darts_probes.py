"""A few steps of searches in the DARTS space, by the code that the run uses, on noise of its shapes."""

import statistics
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from distilnas.methods.dnad import BilevelSettings, SearchNet, ShrinkSettings
from distilnas.methods.dnad.alphas import Alphas
from distilnas.methods.dnad.bilevel import BilevelTraining
from distilnas.methods.dnad.choices import Choices
from distilnas.methods.dnad.imitation import Imitation
from distilnas.methods.dnad.recorder import Recorder, Weighted
from distilnas.methods.dnad.shrink import ShrinkTraining
from distilnas.recipes.planning.meter import Measure, Meter, Sample
from distilnas.recipes.planning.probes import STILL, noise_batch, probe_loop
from distilnas.runtime.device import Device
from distilnas.training.loop import Trainable


def shrink_steps(
    supernet: SearchNet,
    imitation: Imitation | None,
    settings: ShrinkSettings,
    *,
    resolution: int,
    device: Device,
    meter: Meter,
) -> Measure:
    """Steps under pressure with all candidates alive (part ``step``): nothing moves, so nothing is deleted."""
    quiet = replace(settings, warmup_epochs=0, lr=STILL, architecture_lr=STILL)

    def start() -> ShrinkTraining:
        recorder = Recorder(Weighted(supernet, Choices(supernet.space)), quiet, resolution, None, device)
        return ShrinkTraining(recorder, imitation, quiet, probe_loop())

    return _steps(start, partial(noise_batch, resolution=resolution), meter)


def bilevel_steps(
    supernet: SearchNet, settings: BilevelSettings, *, resolution: int, device: Device, meter: Meter
) -> Measure:
    """Steps of alphas and weights, each on a batch of its own (part ``step``)."""
    quiet = replace(settings, lr=STILL, min_lr=STILL, alpha_lr=STILL)

    def start() -> BilevelTraining:
        alphas = Alphas(supernet.space, shared=settings.shared, seed=0)
        return BilevelTraining(supernet, alphas, quiet, probe_loop(), device=device)

    def pair(images: int) -> Any:
        return noise_batch(images, resolution), noise_batch(images, resolution)

    return _steps(start, pair, meter)


def _steps(start: Callable[[], Trainable], batch_of: Callable[[int], Any], meter: Meter) -> Measure:
    """The median of steps after the first, which makes the optimiser's state."""

    def measure(images: int, until: float) -> Sample:
        training, batch = start(), batch_of(images)
        _, first = meter.timed(partial(training.step, batch, 0, 0))
        with meter.peak() as peak:
            laps = meter.laps(partial(training.step, batch, 0), first=1, until=until)
            memory = peak()
        step = statistics.median(laps)
        return Sample(
            images=images, steps=len(laps), seconds={"step": step}, memory_mb=memory, start=max(0.0, first - step)
        )

    return measure
