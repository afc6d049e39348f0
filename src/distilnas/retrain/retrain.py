"""Training the found network on the labels (DNA, section 4.1), from scratch: no supernet weights.

A teacher may help, which the paper leaves out.
"""

from typing import Any

import torch
from torch import Tensor, nn

from distilnas.errors import UsageError
from distilnas.networks import DartsNet, StudentNet, build_network
from distilnas.retrain.darts import DartsTask
from distilnas.retrain.taught import TaughtTask
from distilnas.runtime.seeds import derive_seed
from distilnas.space import Architecture
from distilnas.space.darts import AnyArchitecture, DartsArchitecture
from distilnas.training import ClassifierSettings, Task, Trained, train_classifier

AUXILIARY = {DartsArchitecture.kind}
"""Kinds of architecture that are trained with an auxiliary head, where it has a weight."""


def retrain(
    architecture: AnyArchitecture,
    settings: ClassifierSettings,
    *,
    num_classes: int,
    seed: int,
    auxiliary_weight: float = 0.0,
    start: StudentNet | DartsNet | None = None,
    teacher: nn.Module | None = None,
    **training: Any,
) -> Trained:
    """Build the network of ``architecture`` with fresh weights, or those of ``start``, and train it.

    ``auxiliary_weight``: of the loss of a DARTS network's auxiliary head, which is left out of the trained network; 0:
    without such a head. Networks of the other kind have none.
    ``start``: a trained network of the same architecture; its classifier stays behind where the classes differ in
    number (as in the paper's transfer to CIFAR).
    ``teacher``: a trained classifier of the same classes, on the device and in eval mode; its answers are learnt beside
    the labels (``TaughtTask``). Not for networks of the DARTS kind.
    ``training``: what ``train_classifier`` needs besides (images, validation, preprocessing, device, checkpoint,
    progress, ...).
    """
    if auxiliary_weight < 0:
        raise UsageError(f"auxiliary_weight must not be negative, got {auxiliary_weight}.")
    extra, task = _TASKS[architecture.kind](settings, auxiliary_weight, teacher)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, 3))
        model = build_network(
            architecture,
            num_classes=num_classes,
            drop_rate=settings.drop_rate,
            drop_path_rate=settings.drop_path_rate,
            **extra,
        )
    if start is not None:
        model.load_state_dict(_body(start, num_classes), strict=False)  # only classifiers can be missing
    trained = train_classifier(model, settings=settings, seed=derive_seed(seed, 4), task=task, **training)
    if architecture.kind in AUXILIARY:
        trained.model.auxiliary = None  # type: ignore[assignment]
    return trained


def _plain(
    settings: ClassifierSettings, auxiliary_weight: float, teacher: nn.Module | None
) -> tuple[dict[str, bool], Task]:
    return {}, Task() if teacher is None else TaughtTask(teacher=teacher)


def _darts(
    settings: ClassifierSettings, auxiliary_weight: float, teacher: nn.Module | None
) -> tuple[dict[str, bool], Task]:
    assert teacher is None
    task = DartsTask(auxiliary_weight=auxiliary_weight, drop_path_rate=settings.drop_path_rate)
    return {"auxiliary": auxiliary_weight > 0}, task


_TASKS = {Architecture.kind: _plain, DartsArchitecture.kind: _darts}
"""By the kind of architecture: keywords of its builder, and its task."""


def _body(start: StudentNet | DartsNet, num_classes: int) -> dict[str, Tensor]:
    state = start.state_dict()
    return state if start.num_classes == num_classes else {k: v for k, v in state.items() if "classifier" not in k}
