"""Training the found network from scratch on the labels (DNA, section 4.1): no teacher, no supernet weights."""

from typing import Any

import torch

from distilnas.networks import StudentNet
from distilnas.runtime.seeds import derive_seed
from distilnas.space import Architecture
from distilnas.training import ClassifierSettings, Trained, train_classifier


def retrain(
    architecture: Architecture, settings: ClassifierSettings, *, num_classes: int, seed: int, **training: Any
) -> Trained:
    """Build the network of ``architecture`` with fresh weights and train it.

    ``training``: what ``train_classifier`` needs besides (images, validation, preprocessing, device, checkpoint,
    progress, ...).
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, 3))
        model = StudentNet(
            architecture, num_classes=num_classes, drop_rate=settings.drop_rate, drop_path_rate=settings.drop_path_rate
        )
    return train_classifier(model, settings=settings, seed=derive_seed(seed, 4), **training)
