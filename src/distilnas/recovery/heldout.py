"""How near a student is to its teacher on held-out images, and how often it is right where there are labels."""

import torch
from torch import Tensor, nn

from distilnas.data import ImageSet, Preprocessing
from distilnas.recovery.losses import logit_divergence
from distilnas.runtime.device import Device
from distilnas.training.batches import eval_batches
from distilnas.training.evaluate import evaluating


class HeldOut:
    """Held-out images and the teacher's logits of them, which are computed once."""

    def __init__(
        self, teacher: nn.Module, images: ImageSet, preprocessing: Preprocessing, device: Device, *, workers: int = 0
    ) -> None:
        self._images, self._device, self._workers = images, device, workers
        self.teacher = self._logits(teacher, preprocessing)

    @property
    def ignorant(self) -> float:
        """The divergence (nats) of the best answer that is the same for all images: the mean of the teacher's."""
        given = self.teacher.softmax(1).mean(0, keepdim=True).log()
        return float(logit_divergence(given.expand_as(self.teacher), self.teacher))

    def measure(self, model: nn.Module, preprocessing: Preprocessing) -> dict[str, float]:
        """``val_kl`` (nats), ``val_agreement`` (the same top-1 class, percent); ``val_top1`` where labels are known.

        In eval mode; every module's mode is restored.
        """
        logits = self._logits(model, preprocessing)
        found, labels = logits.argmax(1), torch.from_numpy(self._images.labels.copy())
        measured = {
            "val_kl": float(logit_divergence(logits, self.teacher)),
            "val_agreement": _percent(found == self.teacher.argmax(1)),
        }
        return measured | ({"val_top1": _percent(found == labels)} if has_labels(self._images, logits) else {})

    @torch.no_grad()
    def _logits(self, model: nn.Module, preprocessing: Preprocessing) -> Tensor:
        """(images, classes) float32 on the CPU."""
        with evaluating(model), self._device.autocast():
            batches = eval_batches(self._images, preprocessing, workers=self._workers)
            return torch.cat([model(self._device.images(images)).float().cpu() for images, _ in batches])


def has_labels(images: ImageSet, logits: Tensor) -> bool:
    """Whether the classes of ``images`` are those of ``logits`` (B, classes); images of one class have none to tell."""
    return len(images.classes) == logits.shape[1] > 1


def _percent(right: Tensor) -> float:
    return 100 * float(right.double().mean())
