"""Training the found network on the labels (DNA, section 4.1), from scratch: no teacher, no supernet weights."""

from typing import Any

import torch
from torch import Tensor

from distilnas.networks import StudentNet
from distilnas.runtime.seeds import derive_seed
from distilnas.space import Architecture
from distilnas.training import ClassifierSettings, Trained, train_classifier


def retrain(
    architecture: Architecture,
    settings: ClassifierSettings,
    *,
    num_classes: int,
    seed: int,
    start: StudentNet | None = None,
    **training: Any,
) -> Trained:
    """Build the network of ``architecture`` with fresh weights, or those of ``start``, and train it.

    ``start``: a trained network of the same architecture; its classifier stays behind where the classes differ in
    number (as in the paper's transfer to CIFAR).
    ``training``: what ``train_classifier`` needs besides (images, validation, preprocessing, device, checkpoint,
    progress, ...).
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, 3))
        model = StudentNet(
            architecture, num_classes=num_classes, drop_rate=settings.drop_rate, drop_path_rate=settings.drop_path_rate
        )
    if start is not None:
        model.load_state_dict(_body(start, num_classes), strict=False)  # only a classifier can be missing
    return train_classifier(model, settings=settings, seed=derive_seed(seed, 4), **training)


def _body(start: StudentNet, num_classes: int) -> dict[str, Tensor]:
    state = start.state_dict()
    return state if start.num_classes == num_classes else {k: v for k, v in state.items() if "classifier" not in k}
