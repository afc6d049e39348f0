"""Recovery of a student that inherited weights: distillation of the whole network."""

from distilnas.recovery.heldout import HeldOut
from distilnas.recovery.lesson import Lesson
from distilnas.recovery.losses import logit_divergence, relative_error
from distilnas.recovery.outputs import comparable
from distilnas.recovery.probe import probe_rate
from distilnas.recovery.recover import Recovered, recover
from distilnas.recovery.settings import RecoverySettings
from distilnas.recovery.student import train_student
from distilnas.recovery.trials import Trials, hold_trials

__all__ = [
    "HeldOut",
    "Lesson",
    "Recovered",
    "RecoverySettings",
    "Trials",
    "comparable",
    "hold_trials",
    "logit_divergence",
    "probe_rate",
    "recover",
    "relative_error",
    "train_student",
]
