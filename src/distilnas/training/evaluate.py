"""Accuracy on a set of images."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from distilnas.runtime.device import Device


@torch.no_grad()
def accuracy(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], device: Device, *, k: int = 1) -> float:
    """Top-k accuracy in percent, in eval mode (every module's mode is restored); NaN for no images."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    right = total = 0
    for images, labels in batches:
        with device.autocast():
            logits = model(device.images(images))
        top = logits.topk(min(k, logits.shape[1])).indices.cpu()
        right += int((top == labels[:, None]).any(1).sum())
        total += len(labels)
    for module, training in modes:
        module.training = training
    return 100 * right / total if total else float("nan")
