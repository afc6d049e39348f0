"""Forecasts of a shrinking run: its library from few images, students of it, updates of one; by the code that the run
uses, on noise of its shapes."""

import copy
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path

import torch
from torch import Tensor, nn

from distilnas.recipes.planning.bench import Bench
from distilnas.recipes.planning.disk import checkpoint_mb, weights_mb
from distilnas.recipes.planning.forecast import StepForecast, Work, line_through, seconds_at
from distilnas.recipes.planning.meter import MOST, Measure, Meter, Probed, Sample
from distilnas.recipes.planning.probes import STILL, Watch, noise_batch
from distilnas.recipes.planning.steps import scaled_note, testing_work
from distilnas.recovery import Lesson, RecoverySettings
from distilnas.recovery.length import Timing, probe_updates, trial_updates, updates_of
from distilnas.recovery.student import Rounds, student_training
from distilnas.runtime.device import Device
from distilnas.runtime.progress import Progress
from distilnas.surgery.assemble import LIMIT_BYTES, affordable
from distilnas.surgery.choose import Chosen, choose
from distilnas.surgery.library import Library
from distilnas.surgery.stored import save_library
from distilnas.training.batches import Pieces

_MADE_FROM = (32, 160)  # calibration images
_RATED_ON = (8, 8, 32)  # images of a batch; the first is not counted
_TIMED = 3  # students
_MB = 1e6

Make = Callable[[Sequence[Tensor], Sequence[Tensor], Progress], Library]
"""``make(calibration, rating, progress)``: the run's library from other images."""


def library_from_few(
    make: Make, images: int, batches: Sequence[int], *, resolution: int, device: Device
) -> tuple[Library, float]:
    """A library of few images, and the seconds of the run's: from so many calibration ``images``, rated on ``batches``
    of so many.

    It is made from up to 32 and 160 images, to tell what grows with their number; from ``images`` alone where the run
    has no more. What is solved for takes the same time whatever the images are.
    """
    numbers = made_from(images)
    library, seconds, rated = _made(make, numbers[0], resolution, device)
    each = 0.0
    if len(numbers) > 1:
        _, more, rated = _made(make, numbers[1], resolution, device)
        each = max(0.0, (more - seconds) / (numbers[1] - numbers[0]))
    rating = sum(seconds_at(rated, number) for number in batches)
    return library, seconds + (images - numbers[0]) * each + rating


def made_from(images: int) -> list[int]:
    """The numbers of calibration images that stand in for so many."""
    return sorted({min(images, number) for number in _MADE_FROM})


def _made(make: Make, images: int, resolution: int, device: Device) -> tuple[Library, float, list[tuple[int, float]]]:
    """A library, its seconds without rating, and those of rating on a batch by its number of images."""
    meter, watch = Meter(device), Watch(Meter(device))
    shape = partial(noise, resolution=resolution, device=device)
    library, seconds = meter.timed(lambda: make(shape(images).chunk(2), [shape(n) for n in _RATED_ON], watch))
    return library, seconds - watch.first - sum(watch.laps), list(zip(_RATED_ON[1:], watch.laps, strict=True))


def noise(images: int, *, resolution: int, device: Device) -> Tensor:
    """Images (B, 3, R, R) on the device."""
    return device.images(noise_batch(images, resolution)[0])


def library_mb(library: Library) -> float:
    """The library as its file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "library.npz"
        save_library(path, library)
        return path.stat().st_size / _MB


@dataclass(frozen=True, kw_only=True)
class Assembling:
    """What students of a ``library`` take: ``probed`` of putting one together, ``tested`` of the teacher's passes."""

    bench: Bench
    library: Library
    probed: Probed
    tested: Probed

    def step(self, name: str, students: Mapping[int, int], *, fixed: float, disk_mb: float = 0.0) -> StepForecast:
        """So many ``students`` by the calibration images that each is put together on, held against the teacher on the
        rating images; all of these images are loaded once. ``fixed``: seconds of all else.
        """
        rating, compute = self.bench.images.count("rating"), 0.0
        for images, number in students.items():
            compute += number * (self._seconds(images) + 2 * rating / self.tested.wanted * self.tested.seconds("pass"))
        load, start = self.bench.loading(None).of(rating + sum(students) / len(students), len(students))
        return StepForecast(
            name=name,
            works=(Work(compute=compute, load=load, fixed=fixed + 2 * start),),
            memory_mb=self.bench.memory(self.probed),
            disk_mb=disk_mb,
        )

    def _seconds(self, images: int) -> float:
        """Of one; of large maps fewer images are used."""
        shape = (3, self.bench.resolution, self.bench.resolution)
        used = sum(map(len, affordable(self.library, [torch.empty(images, *shape, device="meta")], LIMIT_BYTES)))
        points = [(sample.images, sample.seconds["step"]) for sample in self.probed.samples]
        return line_through(points, origin=points[0][1]).at(used)


def assembling(
    bench: Bench, name: str, library: Library, some: Sequence[Chosen], teacher: nn.Module, images: int
) -> Assembling:
    """Measured with a few of ``some`` on as many calibration images as the libraries are made of."""
    few = some[:: max(1, len(some) // _TIMED)][:_TIMED]
    measure = student_builds(library, few, resolution=bench.resolution, device=bench.device, meter=bench.meter)
    probed = bench.measure_at(name, measure, made_from(images), images)
    return Assembling(bench=bench, library=library, probed=probed, tested=bench.passes("evaluate-teacher", teacher))


def student_builds(
    library: Library, some: Sequence[Chosen], *, resolution: int, device: Device, meter: Meter
) -> Measure:
    """Students put together (part ``step``): the mean, as each is cut elsewhere."""

    def measure(images: int, until: float) -> Sample:
        calibration = noise(images, resolution=resolution, device=device).chunk(2)
        held_out = [noise(2, resolution=resolution, device=device)]
        with meter.peak() as peak:
            laps = [meter.timed(partial(choose, library, [one], calibration, held_out))[1] for one in some]
            seconds = {"step": statistics.fmean(laps)}
            return Sample(images=images, steps=len(laps), seconds=seconds, memory_mb=peak())

    return measure


def recovery_step(
    bench: Bench,
    name: str,
    student: nn.Module,
    lesson: Lesson,
    settings: RecoverySettings,
    tested: Sequence[Probed],
    *,
    fit_epochs: float,
    trials: int = 0,
) -> StepForecast:
    """Timing, probes and training of a recovery; ``tested``: passes of student and teacher.

    Of the learning rates half are taken to be tried. With ``minutes`` the recovery takes just these. With ``trials``
    not the recovery, but so many students' before it; one is none.
    """
    pieces = settings.pieces(bench.images.count("train"))
    probed = bench.measure(name, update_steps(student, lesson, settings, meter=bench.meter), pieces.at_once)
    bench.advise("recovery", probed, settings.batch_size)
    works = (Work(fixed=60 * settings.minutes),) if settings.minutes and not trials else ()
    if not works:
        per_epoch = bench.images.count("train") // pieces.update
        timing = Timing(update=pieces.passes * probed.seconds(), held_out=tested[0].seconds("pass"))
        updates = updates_of(settings, per_epoch, fit_epochs=fit_epochs, timing=timing)
        each, trial = probe_updates(settings, updates), trial_updates(updates)
        if trials and (trials == 1 or not trial):
            return StepForecast(name=name)
        rates = ceil(settings.probes / 2)
        rounds = [Rounds.of(each, per_epoch)] * (rates * (each > 0)) + [Rounds.of(updates, per_epoch)]
        if trials:
            rounds = [Rounds.of(trial, per_epoch)] * (trials - 1 + max(1, rates))
        done, tests = sum(one.total for one in rounds), 1 + sum(one.number for one in rounds)
        load, start = bench.loading(settings.augment).of(done * pieces.update / tests, tests)
        compute = done * pieces.passes * probed.seconds()
        works = (
            Work(compute=compute, load=load, fixed=start + probed.start, parallel=True),
            testing_work(bench, tested[0], "validation", tests),
            testing_work(bench, tested[1], "validation", 1),
        )
    averaged = settings.ema is not None
    return StepForecast(
        name=name,
        works=works,
        memory_mb=bench.memory(probed),
        disk_mb=weights_mb(student),
        checkpoint_mb=checkpoint_mb(student, settings.optim, averaged=averaged),
        note=scaled_note(probed),
    )


def update_steps(student: nn.Module, lesson: Lesson, settings: RecoverySettings, *, meter: Meter) -> Measure:
    """Updates of a recovery (part ``step``): the median, as all do the same."""
    quiet, resolution = settings.at(STILL), lesson.views.made.resolution

    def measure(images: int, until: float) -> Sample:
        pieces, rounds = Pieces(at_once=images, passes=1), Rounds(number=1, updates=MOST + 1)
        training = student_training(copy.deepcopy(student), lesson, quiet, pieces, rounds)
        update = partial(training.step, [noise_batch(images, resolution)], 0)
        with meter.peak() as peak:
            _, first = meter.timed(partial(update, 0))
            laps = meter.laps(update, first=1, until=until)
            step = statistics.median(laps)
            seconds, start = {"step": step}, max(0.0, first - step)
            return Sample(images=images, steps=len(laps), seconds=seconds, memory_mb=peak(), start=start)

    return measure
