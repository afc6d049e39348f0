"""How networks of the DARTS kind are trained: with an auxiliary classifier, and drop-path that grows (DARTS, A.2)."""

from dataclasses import dataclass

from torch import Tensor, nn

from distilnas.networks import DartsNet
from distilnas.training import Task
from distilnas.training.classifier import Criterion


@dataclass(frozen=True, kw_only=True)
class DartsTask(Task):
    """``auxiliary_weight``: of the auxiliary head's loss beside the main one; 0 for a network without that head.

    ``drop_path_rate``: grows linearly from 0 in the first epoch to this much after the last.
    """

    auxiliary_weight: float
    drop_path_rate: float

    def prepare(self, model: nn.Module, progress: float) -> None:
        assert isinstance(model, DartsNet)
        model.drop_path_rate = progress * self.drop_path_rate

    def loss(self, model: nn.Module, images: Tensor, labels: Tensor, criterion: Criterion) -> Tensor:
        """Main loss + weight x auxiliary loss."""
        assert isinstance(model, DartsNet)
        if not self.auxiliary_weight:
            return criterion(model(images), labels)
        logits, auxiliary = model.forward_with_auxiliary(images)
        return criterion(logits, labels) + self.auxiliary_weight * criterion(auxiliary, labels)
