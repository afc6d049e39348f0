"""The steps that every recipe has, forecast: images, trainings and tests of classifiers."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from distilnas.data import Augmentation, eval_transform, train_transform
from distilnas.recipes.materials import Materials
from distilnas.recipes.planning.disk import checkpoint_mb, onnx_mb, report_mb, weights_mb
from distilnas.recipes.planning.forecast import StepForecast, Work, largest_piece
from distilnas.recipes.planning.images import PlannedImages
from distilnas.recipes.planning.loading import Held, Loading, hold, measure_loading
from distilnas.recipes.planning.meter import Measure, Meter, Probed, grow
from distilnas.recipes.planning.probes import Train, classifier_steps, forward_passes, settle
from distilnas.training import ClassifierSettings

_TEST_BATCH = 256
_PARTS_HELD = 4  # train, validation, rating and test images share the cache
_LOADING = 0.025  # of the seconds, for each kind of loading
_USED = 0.9  # of the memory: more would not be wise


class Bench:
    """What the forecasts of one run measure with, and what they find on the way (``probe``, ``advice``).

    ``seconds``: for all measurements. ``shares``: a weight for each by name; what one does not use, later ones may.
    ``keys``: what comes before a setting's name in the configuration.
    """

    def __init__(
        self,
        materials: Materials,
        images: PlannedImages,
        *,
        seconds: float,
        shares: Mapping[str, float],
        keys: str = "",
    ) -> None:
        self._keys = keys
        self.materials, self.images = materials, images
        self.device, self.meter = materials.device, Meter(materials.device)
        self.resolution = materials.preprocessing.resolution
        self.probe: dict[str, Any] = {}
        self.advice: list[str] = []
        self._end, self._loading = time.monotonic() + seconds, _LOADING * seconds
        self._shares = dict(shares)
        self._loadings: dict[Augmentation | None, Loading] = {}
        self.held = self._hold()

    @property
    def limit_mb(self) -> float | None:
        """The memory that work may take."""
        return None if self.meter.limit_mb is None else _USED * self.meter.limit_mb

    def measure(self, name: str, measure: Measure, wanted: int) -> Probed:
        """``grow`` within the seconds of ``name``; what it did is kept in ``probe``."""
        self.materials.progress.message(f"probing {name}")
        probed = grow(measure, wanted, seconds=self._take(name), limit_mb=self.limit_mb)
        self.probe[name] = probed.to_dict()
        return probed

    def loading(self, augment: Augmentation | None) -> Loading:
        """Loading of training images with ``augment``, or as a trained network wants them."""
        if augment not in self._loadings:
            preprocessing = self.materials.preprocessing
            transform = eval_transform(preprocessing) if augment is None else train_transform(preprocessing, augment)
            workers = self.materials.runtime.workers
            found = measure_loading(self.held.images, transform, workers=workers, seconds=self._loading)
            self._loadings[augment] = found
            self.probe[f"loading {len(self._loadings)}"] = {
                "transform": "test" if augment is None else "training",
                "images": found.images,
                "seconds_per_image": found.seconds,
                "seconds_to_start": found.start,
                "in_memory": self.held.in_memory,
            }
        return self._loadings[augment]

    def passes(self, name: str, model: nn.Module) -> Probed:
        """Test batches through a network."""
        settle(model, self.resolution, self.device)
        measure = forward_passes(model, resolution=self.resolution, device=self.device, meter=self.meter)
        return self.measure(name, measure, max(2, min(_TEST_BATCH, self.images.count("test"))))

    def memory(self, probed: Probed) -> float | None:
        """Peak memory at the run's own size; on a CPU with the images that the run keeps in memory."""
        known = probed.memory_mb
        return known if known is None or self.device.name != "cpu" else known + self.held.memory_mb

    def advise(self, key: str, probed: Probed, batch: int, *, even: bool = False) -> None:
        """Say so where a batch does not fit, and which ``KEY.micro_batch`` would."""
        memory, limit = probed.memory, self.limit_mb
        needed = self.memory(probed)
        if memory is None or limit is None or needed is None or needed <= limit:
            return
        fits = largest_piece(batch, memory, limit - (needed - memory.at(probed.wanted)), even=even)
        remedy = f"set {self._keys}{key}.micro_batch={fits}" if fits else "not even 2 images fit: lower data.resolution"
        self.advice.append(
            f"{key} needs {needed / 1e3:.1f} GB, more than {_USED:.0%} of {limit / _USED / 1e3:.1f} GB: {remedy}."
        )

    def advise_smaller(self, name: str, probed: Probed, key: str) -> None:
        """Say so where a batch does not fit that cannot be taken in pieces; ``key``: the setting of its size."""
        needed, limit = self.memory(probed), self.limit_mb
        if needed is not None and limit is not None and needed > limit:
            self.advice.append(f"{name} needs {needed / 1e3:.1f} GB: set a lower {self._keys}{key}.")

    def _take(self, name: str) -> float:
        """Seconds for ``name``: its share of what is left among those not measured yet."""
        part = self._shares.pop(name)
        return (self._end - time.monotonic()) * part / (part + sum(self._shares.values()))

    def _hold(self) -> Held:
        splits, settings = self.images.splits, self.materials.data
        held = hold(splits.train, settings.cache_mb / _PARTS_HELD, seed=self.materials.seed)
        parts = (splits.train, splits.validation, splits.rating, splits.test)
        whole = sum(map(len, parts)) / len(splits.train)
        return replace(held, seconds=held.seconds * whole, memory_mb=held.memory_mb * whole)


def data_step(bench: Bench) -> StepForecast:
    """Listing the images, and decoding them where they are kept in memory."""
    note = "without the check for damaged files" if bench.images.real else "of images that are not here"
    return StepForecast(name="data", works=(Work(fixed=bench.images.seconds + bench.held.seconds),), note=note)


def training_step(
    bench: Bench,
    name: str,
    key: str,
    train: Train,
    settings: ClassifierSettings,
    tested: Probed,
    *,
    trained: nn.Module,
    kept: nn.Module,
) -> StepForecast:
    """A training on the labels; ``key``: its settings' name, ``tested``: the passes of the same network.

    ``trained``: the network as it is trained, ``kept``: what is kept of it.
    """
    images = bench.images.count("train")
    pieces = settings.pieces(images)
    passes, steps = pieces.passes, images // pieces.update
    measure = classifier_steps(
        train,
        settings,
        classes=bench.images.classes,
        resolution=bench.resolution,
        device=bench.device,
        meter=bench.meter,
    )
    probed = bench.measure(name, measure, pieces.at_once)
    bench.advise(key, probed, settings.batch_size, even=settings.mixes)
    compute = settings.epochs * steps * passes * probed.seconds()
    load, start = bench.loading(settings.augment).of(steps * pieces.update, settings.epochs)
    return StepForecast(
        name=name,
        works=(
            Work(compute=compute, load=load, fixed=start + probed.start, parallel=True),
            testing_work(bench, tested, "validation", settings.epochs),
        ),
        memory_mb=bench.memory(probed),
        disk_mb=weights_mb(kept),
        checkpoint_mb=checkpoint_mb(trained, settings.optim, averaged=settings.ema is not None),
        note=scaled_note(probed),
    )


def testing_work(bench: Bench, tested: Probed, part: str, times: int) -> Work:
    """So many tests of a network on the images of a part."""
    images = bench.images.count(part)
    load, start = bench.loading(None).of(images, times)
    compute = times * images / tested.wanted * tested.seconds("pass")
    return Work(compute=compute, load=load, fixed=start)


def testing_step(bench: Bench, name: str, tested: Probed) -> StepForecast:
    """Top-1 and top-5 of a network on the test images."""
    return StepForecast(name=name, works=(testing_work(bench, tested, "test", 1),), memory_mb=bench.memory(tested))


def export_step(model: nn.Module) -> StepForecast:
    """Disk only: how long the ONNX export takes is not forecast."""
    return StepForecast(
        name="export", disk_mb=weights_mb(model) + onnx_mb(model), note="seconds to a minute, not forecast"
    )


def report_step() -> StepForecast:
    """Disk only."""
    return StepForecast(name="report", disk_mb=report_mb(), note="seconds, not forecast")


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What ``work()`` gives, and its seconds."""
    start = time.monotonic()
    return work(), time.monotonic() - start


def scaled_note(probed: Probed) -> str:
    """Whether the numbers are of smaller batches than the run's."""
    return f"scaled from batches of {probed.samples[-1].images} to {probed.wanted}" if probed.scaled else ""
