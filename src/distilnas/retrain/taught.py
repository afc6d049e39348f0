"""Labels and a teacher together: a network learns both what is right and what its teacher answers."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from distilnas.recovery import logit_divergence
from distilnas.training import Task
from distilnas.training.classifier import Criterion


@dataclass(frozen=True, kw_only=True)
class TaughtTask(Task):
    """``teacher``: on the same device, in eval mode; it sees the student's view, mixed images too."""

    teacher: nn.Module

    def loss(self, model: nn.Module, images: Tensor, labels: Tensor, criterion: Criterion) -> Tensor:
        """The labels' loss + the divergence of the logits from the teacher's (Hinton et al. 2015, at temperature 1)."""
        with torch.no_grad():
            wanted = self.teacher(images)
        logits = model(images)
        return criterion(logits, labels) + logit_divergence(logits, wanted)
