"""Accuracy on a set of images."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from distilnas.runtime.device import Device


def accuracy(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], device: Device) -> float:
    """Top-1 accuracy in percent, in eval mode (every module's mode is restored); NaN for no images."""
    return accuracies(model, batches, device, ks=(1,))[0]


@torch.no_grad()
def accuracies(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], device: Device, *, ks: tuple[int, ...]
) -> tuple[float, ...]:
    """Top-k accuracy for every k of ``ks``, as ``accuracy``, from one pass."""
    right, total = [0] * len(ks), 0
    with evaluating(model):
        for images, labels in batches:
            with device.autocast():
                logits = model(device.images(images))
            top = logits.topk(min(max(ks), logits.shape[1])).indices.cpu()
            hits = top == labels[:, None]
            right = [before + int(hits[:, :k].sum()) for before, k in zip(right, ks, strict=True)]
            total += len(labels)
    return tuple(100 * hits / total if total else float("nan") for hits in right)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode inside; afterwards every module is in the mode it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
