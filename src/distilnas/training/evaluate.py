"""Accuracy on a set of images."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from distilnas.runtime.device import Device


def accuracy(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], device: Device) -> float:
    """Top-1 accuracy in percent, in eval mode (every module's mode is restored); NaN for no images."""
    return accuracies(model, batches, device, ks=(1,))[0]


def accuracies(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], device: Device, *, ks: tuple[int, ...]
) -> tuple[float, ...]:
    """Top-k accuracy for every k of ``ks``, as ``accuracy``, from one pass."""
    top, labels = predictions(model, batches, device, k=max(ks))
    return shares_right(top, labels, ks=ks)


@torch.no_grad()
def predictions(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], device: Device, *, k: int
) -> tuple[Tensor, Tensor]:
    """The ``k`` likeliest classes of every image (n, k), the first first, and the labels (n,), in eval mode."""
    top, given = [torch.empty(0, k, dtype=torch.int64)], [torch.empty(0, dtype=torch.int64)]
    with evaluating(model):
        for images, labels in batches:
            with device.autocast():
                logits = model(device.images(images))
            top.append(logits.topk(min(k, logits.shape[1])).indices.cpu())
            given.append(labels)
    first = 0 if len(top) == 1 else 1
    return torch.cat(top[first:]), torch.cat(given)


def shares_right(top: Tensor, labels: Tensor, *, ks: tuple[int, ...]) -> tuple[float, ...]:
    """Top-k accuracy in percent of ``predictions`` for every k of ``ks``; NaN for no images."""
    hits = top == labels[:, None]
    return tuple(100 * int(hits[:, :k].sum()) / len(labels) if len(labels) else float("nan") for k in ks)


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
