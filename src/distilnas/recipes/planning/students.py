"""The steps that end a run, forecast: the student retrained, tested and exported."""

from functools import partial

from torch import nn

from distilnas.networks import build_network
from distilnas.recipes.planning.forecast import StepForecast
from distilnas.recipes.planning.steps import Bench, export_step, testing_step, training_step
from distilnas.retrain import retrain
from distilnas.space.darts import AnyArchitecture, DartsArchitecture
from distilnas.training import ClassifierSettings


def student_steps(
    bench: Bench,
    architecture: AnyArchitecture,
    settings: ClassifierSettings,
    *,
    auxiliary_weight: float = 0.0,
    teacher: nn.Module | None = None,
) -> tuple[StepForecast, StepForecast, StepForecast]:
    """Retraining as ``distilnas.retrain`` does it (a DARTS network with its auxiliary head), test, export."""
    classes = bench.images.classes
    build = partial(build_network, architecture, num_classes=classes)
    head = {"auxiliary": True} if auxiliary_weight and isinstance(architecture, DartsArchitecture) else {}
    train = partial(retrain, architecture, num_classes=classes, auxiliary_weight=auxiliary_weight, teacher=teacher)
    tested = bench.passes("evaluate", build())
    retrained = training_step(bench, "retrain", "retrain", train, settings, tested, trained=build(**head), kept=build())
    return retrained, testing_step(bench, "evaluate", tested), export_step(build())
