"""What a forecast measures with, and how the probes of a run's steps reach each other."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Generic, TypeVar

from torch import nn

from distilnas.data import Augmentation, eval_transform, train_transform
from distilnas.recipes.frame import Entry, Step
from distilnas.recipes.materials import Materials
from distilnas.recipes.planning.forecast import StandIn, StepForecast, largest_piece
from distilnas.recipes.planning.images import PlannedImages
from distilnas.recipes.planning.loading import Held, Loading, hold, measure_loading
from distilnas.recipes.planning.meter import Measure, Meter, Probed, at_sizes, grow
from distilnas.recipes.planning.probes import forward_passes, settle

S = TypeVar("S")
G = TypeVar("G")
T = TypeVar("T")
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
        self._probed: dict[str, Probed] = {}
        self.held = self._hold()

    @property
    def limit_mb(self) -> float | None:
        """The memory that work may take."""
        return None if self.meter.limit_mb is None else _USED * self.meter.limit_mb

    def measure(self, name: str, measure: Measure, wanted: int) -> Probed:
        """``grow`` within the seconds of ``name``, once; what it did is kept in ``probe``."""
        if name not in self._probed:
            self.materials.progress.message(f"probing {name}")
            self._probed[name] = grow(measure, wanted, seconds=self._take(name), limit_mb=self.limit_mb)
            self.probe[name] = self._probed[name].to_dict()
        return self._probed[name]

    def measure_at(self, name: str, measure: Measure, sizes: Sequence[int], wanted: int) -> Probed:
        """``measure`` at these sizes whatever it takes, once: of work whose time is hardly that of the images."""
        if name not in self._probed:
            self.materials.progress.message(f"probing {name}")
            self._probed[name] = at_sizes(measure, sizes, wanted)
            self.probe[name] = self._probed[name].to_dict()
        return self._probed[name]

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
        """Test batches through a network, measured once for a ``name``."""
        if name in self._probed:
            return self._probed[name]
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


class Plan(Generic[S, G]):
    """A run that is forecast: for probes what ``frame.Job`` is for work.

    A step's ``stand_in`` takes the place of its artefact: of the right shapes, with random weights. ``student``: the
    architecture that a search is taken to find, where the user gave one. ``bench`` is there once all stand-ins are.
    """

    bench: Bench

    def __init__(self, settings: S, materials: Materials, given: G, images: PlannedImages, student: Any = None) -> None:
        self.settings, self.materials, self.given, self.images = settings, materials, given, images
        self.student = student
        self.device, self.preprocessing, self.classes = materials.device, materials.preprocessing, images.classes
        self.assumptions: list[str] = []
        self._made: dict[Entry[Any], StandIn[Any]] = {}
        self._forecasts: dict[Entry[Any], StepForecast] = {}

    def made(self, step: Step[Any, T]) -> StandIn[T]:
        """What stands in for the step's artefact and result."""
        if step not in self._made:
            self._made[step] = step.stand_in(self)
        return self._made[step]

    def get(self, step: Step[Any, T]) -> T:
        """What stands in for what it hands on."""
        return self.made(step).artefact

    def result(self, step: Step[Any, Any]) -> dict[str, Any]:
        """What stands in for what its record says."""
        return self.made(step).result

    def forecast(self, entry: Entry[Any]) -> StepForecast:
        """The forecast of a step."""
        if entry not in self._forecasts:
            self._forecasts[entry] = entry.probe(self)
        return self._forecasts[entry]

    @staticmethod
    def timed(work: Callable[[], T]) -> tuple[T, float]:
        """What ``work()`` gives, and its seconds."""
        start = time.monotonic()
        return work(), time.monotonic() - start
