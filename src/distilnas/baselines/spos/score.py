"""Scoring networks with the one-shot supernet's weights on held-out training images.

The networks form a tree: those that agree in their first layers share these layers' work. It is walked depth first with
one feature map per level: all 6,561 networks of three ops in eight layers cost 3 + 9 + ... + 6,561 = 9,840 op
evaluations a batch (and a head each) instead of 8 x 6,561.

Batch norm uses the statistics of the batch and path at hand (the paper measures them anew for every network, on a part
of the training images); no weight and no buffer changes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from distilnas.baselines.spos.supernet import OneShot, Step, steps
from distilnas.errors import UsageError
from distilnas.runtime.device import Device
from distilnas.runtime.progress import Progress
from distilnas.space import Choice, SearchSpace

Batches = Callable[[], Iterable[tuple[Tensor, Tensor]]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """What each of ``choices`` reaches on ``num_images`` images, (n,) each.

    ``loss``: mean cross entropy in nats, lower is better; ``stderr``: its standard error over images; ``accuracy``:
    top-1 as a share.
    """

    choices: tuple[Choice, ...]
    loss: np.ndarray
    stderr: np.ndarray
    accuracy: np.ndarray
    num_images: int


@torch.no_grad()
def score(
    net: OneShot,
    batches: Batches,
    *,
    choices: Sequence[Choice] | None = None,
    max_networks: int = 10_000,
    device: Device,
    progress: Progress,
) -> Scores:
    """Score ``choices``, by default all networks of the space; ``batches()`` gives the same batches every time.

    Raises ``UsageError`` for more than ``max_networks`` networks, one that is not of the space, images or labels that
    do not fit, and losses that are not finite.
    """
    net = device.module(net)  # type: ignore[assignment]
    listed = _listed(net.space, choices, max_networks)
    order = sorted(range(len(listed)), key=lambda i: steps(listed[i]))  # neighbours share the longest beginnings
    sizes = _sizes(batches, net.num_classes)
    sums = np.zeros((len(listed), 3))
    with progress.task("score", len(listed) * len(sizes)) as task:
        for images, labels in batches():
            images, labels = device.images(images), device.tensor(labels)
            rows = []
            for logits in walk(net, [listed[i] for i in order], images, device):
                rows.append(_sums(logits.float(), labels))
                task.advance()
            sums[order] += torch.stack(rows).cpu().numpy()
    return _summary(listed, sums, sum(sizes))


def walk(net: OneShot, choices: Iterable[Choice], images: Tensor, device: Device) -> Iterator[Tensor]:
    """Logits (B, classes) of each choice; a layer that two neighbours in ``choices`` both begin with runs once."""
    with device.autocast():
        features = [net.stem(images)]  # after the stem and after each step of ``path``
    path: tuple[Step, ...] = ()
    for choice in choices:
        before, path = path, steps(choice)
        shared = _common(before, path)
        del features[shared + 1 :]
        with device.autocast():
            for step in path[shared:]:
                features.append(net.layer(step, features[-1]))
            logits = net.head(features[-1])
        yield logits


def _common(one: tuple[Step, ...], other: tuple[Step, ...]) -> int:
    """Length of the common beginning."""
    pairs = zip(one, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _sums(logits: Tensor, labels: Tensor) -> Tensor:
    """(3,) over images: loss, squared loss, hits; float64, of which a mean and a variance can be taken."""
    loss = F.cross_entropy(logits, labels, reduction="none").double()
    return torch.stack([loss.sum(), loss.square().sum(), (logits.argmax(1) == labels).sum()])


def _summary(choices: tuple[Choice, ...], sums: np.ndarray, images: int) -> Scores:
    loss, squares, accuracy = (sums / images).T
    bad = np.flatnonzero(~np.isfinite(loss))
    if len(bad):
        raise UsageError(
            f"the loss of network {choices[bad[0]]} is not finite: training of the one-shot supernet diverged there. "
            "Train it anew with a lower learning rate."
        )
    variance = np.maximum(squares - loss**2, 0)  # below 0 by rounding only
    return Scores(
        choices=choices, loss=loss, stderr=np.sqrt(variance / (images - 1)), accuracy=accuracy, num_images=images
    )


def _listed(space: SearchSpace, choices: Sequence[Choice] | None, max_networks: int) -> tuple[Choice, ...]:
    number = space.num_architectures if choices is None else len(choices)
    if not 0 < number <= max_networks:
        raise UsageError(
            f"1 to max_networks={max_networks:,} networks can be scored, got {number:,}"
            f"{f' (all of space {space.name!r})' if choices is None else ''}: give a list of choices that is not "
            "longer, or raise max_networks."
        )
    listed = tuple(space.choices() if choices is None else choices)
    for choice in listed:
        space.architecture(choice)
    return listed


def _sizes(batches: Batches, num_classes: int) -> list[int]:
    """Numbers of images."""
    sizes = [_checked(labels, num_classes) for _, labels in batches()]
    if not sizes:
        raise UsageError("networks are scored on images, got none: hold some training images back for it.")
    return sizes


def _checked(labels: Tensor, num_classes: int) -> int:
    if len(labels) < 2:
        raise UsageError(f"a batch to score on gives the batch-norm statistics: 2 images at least, got {len(labels)}.")
    if int(labels.min()) < 0 or int(labels.max()) >= num_classes:
        raise UsageError(
            f"the supernet has {num_classes} classes, numbered from 0, but there are labels from {int(labels.min())} "
            f"to {int(labels.max())}: score on images of the classes it was trained for."
        )
    return len(labels)
