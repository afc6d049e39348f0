"""The labels' part in block-wise distillation: what the rest of the teacher makes of a student block's output."""

import torch
import torch.nn.functional as F
from torch import Tensor

from distilnas.errors import UsageError
from distilnas.runtime.device import Device
from distilnas.teachers import TeacherBlocks


class LabelLoss:
    """Cross entropy of the labels with a block's output in place of the teacher's feature; the teacher stays frozen.

    Gradients flow through the rest of the teacher (its remaining blocks and head) to the output, and reach no weight or
    buffer of it. Raises ``UsageError`` for a teacher that does not give one row of class scores for each image.
    """

    def __init__(self, teacher: TeacherBlocks, device: Device) -> None:
        self.teacher, self.device = teacher, device
        shape = teacher.partition.image_shape
        images = device.images(torch.randn(2, *shape, generator=torch.Generator().manual_seed(0)))
        features = teacher.features(images)
        logits = teacher.logits(images)
        if logits.ndim != 2:
            raise UsageError(
                "distill.label_loss needs a teacher that gives (images, classes), its output has the shape "
                f"{tuple(logits.shape)}; set distill.label_loss=0 or give a classifier as teacher."
            )
        self.classes = logits.shape[1]
        for i, feature in enumerate(features[1:], start=1):  # finds each rest now, so that all steps compute alike
            teacher.forward_from(i, feature, images)

    def check(self, labels: Tensor) -> None:
        """Raise ``UsageError`` where ``labels`` (B,), on the CPU, are no classes of the teacher."""
        wrong = labels[(labels < 0) | (labels >= self.classes)]
        if len(wrong):
            raise UsageError(
                f"distill.label_loss needs the images' classes among the teacher's, which are 0 to {self.classes - 1}; "
                f"an image has label {int(wrong[0])}. Give a teacher fitted to these classes, or set "
                "distill.label_loss=0."
            )

    def __call__(self, i: int, output: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        """Mean cross entropy of ``labels`` (B,) when ``output`` (B, C_i, H_i, W_i) stands in for Y_i of ``images``."""
        return F.cross_entropy(self.teacher.rest(i, output, images), labels)
