"""Distances of a whole student from its teacher."""

import torch.nn.functional as F
from torch import Tensor


def logit_divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """KL divergence of the student's class probabilities from the teacher's in nats, mean over the images.

    Logits (B, classes). The temperature is 1, as in function matching (Beyer et al. 2022): no softening.
    """
    given, wanted = F.log_softmax(student.float(), 1), F.log_softmax(teacher.float(), 1)
    return F.kl_div(given, wanted, reduction="batchmean", log_target=True)


def relative_error(output: Tensor, target: Tensor) -> Tensor:
    """Mean squared error over the target's mean square, any equal shapes: 1 is what an output of zeros has."""
    wanted = target.float()
    return F.mse_loss(output.float(), wanted) / wanted.square().mean().clamp_min(1e-12)
