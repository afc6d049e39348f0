"""Forecasts of what many steps do: trainings and tests of classifiers."""

from typing import Any

from torch import nn

from distilnas.costing import profile
from distilnas.networks import build_network
from distilnas.recipes.planning.bench import Bench, Plan
from distilnas.recipes.planning.disk import checkpoint_mb, report_mb, weights_mb
from distilnas.recipes.planning.forecast import StepForecast, Work
from distilnas.recipes.planning.meter import Probed
from distilnas.recipes.planning.probes import Train, classifier_steps
from distilnas.space.darts import AnyArchitecture
from distilnas.training import ClassifierSettings


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


def report_step() -> StepForecast:
    """Disk only."""
    return StepForecast(name="report", disk_mb=report_mb(), note="seconds, not forecast")


def scaled_note(probed: Probed) -> str:
    """Whether the numbers are of smaller batches than the run's."""
    return f"scaled from batches of {probed.samples[-1].images} to {probed.wanted}" if probed.scaled else ""


def about_student(plan: Plan[Any, Any], student: AnyArchitecture, guess: str) -> str:
    """What is assumed of a student that is not known yet; ``guess``: how it was made up."""
    counts = profile(build_network(student, num_classes=plan.classes), plan.preprocessing.resolution)
    return (
        "retrain and evaluate: the student is not known before the search; taken is "
        f"{'the architecture given' if plan.student else guess}, {counts.macs:,} MACs and {counts.params:,} parameters."
    )
