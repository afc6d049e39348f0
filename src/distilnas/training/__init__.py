"""Loop parts that every training shares."""

from distilnas.training.classifier import ClassifierSettings, Task, train_classifier
from distilnas.training.evaluate import accuracies, accuracy, predictions, shares_right
from distilnas.training.loop import Loop, Trainable, TrainingLog
from distilnas.training.network import Trained
from distilnas.training.optim import OptimSettings

__all__ = [
    "ClassifierSettings",
    "Loop",
    "OptimSettings",
    "Task",
    "Trainable",
    "Trained",
    "TrainingLog",
    "accuracies",
    "accuracy",
    "predictions",
    "shares_right",
    "train_classifier",
]
