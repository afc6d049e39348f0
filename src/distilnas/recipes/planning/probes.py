"""A few steps of training and testing a classifier, by the very code that the run uses, on noise of its shapes."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from distilnas.data import Augmentation, ImageSet, Preprocessing, make_loader, train_transform
from distilnas.recipes.planning.meter import FEWEST, MOST, Measure, Meter, Sample
from distilnas.runtime.device import Device
from distilnas.runtime.progress import SilentProgress
from distilnas.runtime.seeds import torch_seed
from distilnas.training import ClassifierSettings, Loop, OptimSettings, Trained, accuracy

_PLAIN = Augmentation(crop="none", hflip=0.0)
_NOWHERE = Path("no checkpoint")
_SETTLING = 4
STILL = 1e-12  # a learning rate at which noise teaches nothing, not even to diverge

Train = Callable[..., Trained]
"""Builds a network of random weights and trains it: ``train_classifier`` or ``retrain`` with all arguments but those
that say on which images, how and where (see ``classifier_steps``)."""


def classifier_steps(
    train: Train,
    settings: ClassifierSettings,
    *,
    classes: int,
    resolution: int,
    device: Device,
    meter: Meter,
) -> Measure:
    """Steps of a training on labels without loading (part ``step``): the median, as all do the same."""
    plain = Preprocessing(resolution=resolution)

    def watched(images: int, number: int) -> Watch:
        noise = noise_images(images * number, resolution, classes)
        watch = Watch(meter)
        train(
            images=noise,
            validation=noise.subset([0, 1]),
            preprocessing=plain,
            settings=replace(
                settings, epochs=1, batch_size=images, micro_batch=None, augment=_PLAIN, optim=still(settings.optim)
            ),
            name="probe",
            device=device,
            seed=0,
            checkpoint=_NOWHERE,
            progress=watch,
            checkpoint_seconds=None,
        )
        return watch

    def measure(images: int, until: float) -> Sample:
        with meter.peak() as peak:
            watch = watched(images, FEWEST + 1)
            memory = peak()
        laps = watch.laps
        more = min(MOST, int((until - time.monotonic()) / statistics.median(laps)))
        laps += watched(images, more + 1).laps if more > FEWEST else []
        _, loading = meter.timed(partial(_load, noise_images(images * FEWEST, resolution, classes), plain))
        step = statistics.median(laps)
        return Sample(
            images=images,
            steps=len(laps),
            seconds={"step": max(0.0, step - loading / FEWEST)},
            memory_mb=memory,
            start=max(0.0, watch.first - step),
        )

    return measure


def forward_passes(model: nn.Module, *, resolution: int, device: Device, meter: Meter) -> Measure:
    """Passes of a batch through a network as it is tested (part ``pass``)."""
    model = device.module(model)

    def measure(images: int, until: float) -> Sample:
        batch = noise_batch(images, resolution)
        with meter.peak() as peak:
            accuracy(model, [batch], device)
            laps = meter.laps(lambda _: accuracy(model, [batch], device), until=until)
            seconds = {"pass": statistics.median(laps)}
            return Sample(images=images, steps=len(laps), seconds=seconds, memory_mb=peak())

    return measure


@torch.no_grad()
def settle(model: nn.Module, resolution: int, device: Device) -> nn.Module:
    """A network of random weights that behaves as a trained one: batch norms know the statistics of noise, and no
    weight matrix is zero. Else features could vanish from layer to layer, and tiny numbers are slow."""
    norms = [part for part in model.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    kept = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    with torch_seed(0):
        for weight in model.parameters():
            if weight.ndim > 1 and not weight.any():
                nn.init.normal_(weight, std=0.02)
        if norms:
            model.train()
            model(device.images(noise_batch(_SETTLING, resolution)[0]))
    for norm, momentum in zip(norms, kept, strict=True):
        norm.momentum = momentum
    return model.eval()


def noise_batch(images: int, resolution: int) -> tuple[Tensor, Tensor]:
    """Noise (B, 3, R, R) as a loader would give it, and labels (B,), all 0 or 1."""
    noise = torch.randn(images, 3, resolution, resolution, generator=torch.Generator().manual_seed(0))
    return noise, torch.arange(images) % 2


def noise_images(number: int, resolution: int, classes: int) -> ImageSet:
    """Any number of different images in the memory of one: each a view of the same noise, a pixel further on."""
    noise = np.random.default_rng(0).integers(256, size=3 * (resolution**2 + number), dtype=np.uint8)
    views = np.lib.stride_tricks.as_strided(
        noise, (number, resolution, resolution, 3), (3, 3 * resolution, 3, 1), writeable=False
    )
    labels = np.arange(number, dtype=np.int64) % classes
    return ImageSet(name="noise", classes=tuple(map(str, range(classes))), labels=labels, images=views)


def _load(images: ImageSet, plain: Preprocessing) -> None:
    """Load as ``classifier_steps`` does."""
    transform = train_transform(plain, _PLAIN)
    size = len(images) // FEWEST
    for _ in make_loader(images, transform, batch_size=size, seed=0, epoch=0, shuffle=True, drop_last=True):
        pass


def still(optim: OptimSettings) -> OptimSettings:
    """The same optimiser at a rate that changes nothing."""
    return replace(optim, lr=STILL, lr_base_size=None)


def probe_loop() -> Loop:
    """What a training of which single steps are measured is told of its loop."""
    return Loop(
        name="probe",
        epochs=1,
        steps_per_epoch=MOST + 1,
        batches=lambda epoch, start: (),
        checkpoint=_NOWHERE,
        progress=SilentProgress(),
    )


class Watch(SilentProgress):
    """A ``Progress`` that times the steps of a loop, the ``first`` apart."""

    def __init__(self, meter: Meter) -> None:
        self.first = 0.0
        self.laps: list[float] = []
        self._meter = meter
        self._times: list[float] = []

    @contextmanager
    def task(self, name: str, total: int, done: int = 0) -> Iterator["Watch"]:
        """See ``distilnas.runtime.progress.Progress``."""
        self._times = [self._now()]
        yield self
        self.first, *self.laps = (after - before for before, after in pairwise(self._times))

    def advance(self, steps: int = 1, note: str = "") -> None:
        """A step is done."""
        self._times.append(self._now())

    def _now(self) -> float:
        self._meter.wait()
        return time.perf_counter()
