"""A supernet of three narrow cells on 16-pixel images that a few steps shrink, and a teacher for it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from killing import Killed
from torch import Tensor, nn

from distilnas.methods.dnad import PressureSettings, SearchNet, ShrinkSettings, Shrunk, build_supernet, shrink
from distilnas.runtime.device import Device
from distilnas.runtime.progress import SilentProgress
from distilnas.space.darts.space import DartsSpace
from distilnas.teachers import TeacherBlocks, propose
from distilnas.training import Loop

SIZE = 16
CLASSES = 4
DEVICE = Device("cpu")
NO_CHECKPOINT = Path("none")
SPACE = DartsSpace(width=4, num_cells=3, primitives=("skip_connect", "dil_conv_3x3"))
FAST = PressureSettings(gamma=0.02, gamma_max=0.05, phi=1.5, k=0.9, tau=0.5, n_max=0.3, q_max=2)
STEPS = 4


def quick(**changes: Any) -> ShrinkSettings:
    """Settings under which candidates are deleted from the first steps on."""
    base: dict[str, Any] = {"lr": 1e-2, "architecture_lr": 20.0, "min_sparsity": None, "evaluation_width": 8}
    return ShrinkSettings(**(base | {"pressure": FAST} | changes))


def tiny_supernet(space: DartsSpace = SPACE, *, seed: int = 0) -> SearchNet:
    """The supernet of ``space`` for four classes."""
    return build_supernet(space, num_classes=CLASSES, seed=seed)


def tiny_teacher(channels: tuple[int, ...] = (6, 10, 12), classes: int = CLASSES) -> TeacherBlocks:
    """Image 16x16 -> (6, 16, 16) -> (10, 8, 8) -> (12, 4, 4)."""
    torch.manual_seed(0)
    widths = [3, *channels]
    stages = [
        nn.Sequential(nn.Conv2d(widths[i], widths[i + 1], 3, 1 if i == 0 else 2, 1), nn.BatchNorm2d(widths[i + 1]))
        for i in range(len(channels))
    ]
    model = nn.Sequential(*stages, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels[-1], classes))
    return TeacherBlocks(model, propose(model, SIZE, [str(i) for i in range(len(channels))]))


def labelled(number: int = STEPS, size: int = 4, seed: int = 5) -> list[tuple[Tensor, Tensor]]:
    """Batches of noise with a bright quadrant, the class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(size) % CLASSES
    batches = []
    for _ in range(number):
        images = 0.5 * torch.randn(size, 3, SIZE, SIZE, generator=generator)
        for image, label in zip(images, labels.tolist(), strict=True):
            top, left = SIZE // 2 * (label // 2), SIZE // 2 * (label % 2)
            image[:, top : top + SIZE // 2, left : left + SIZE // 2] += 1
        batches.append((images, labels))
    return batches


def tiny_loop(checkpoint: Path = NO_CHECKPOINT, epochs: int = 2, killed_after: int | None = None) -> Loop:
    """A loop over ``labelled``; the process dies when batch ``killed_after`` is asked for. It saves after each step."""
    asked = 0

    def batches(epoch: int, start: int) -> Iterable[tuple[Tensor, Tensor]]:
        nonlocal asked
        for pair in labelled(seed=10 + epoch)[start:]:
            if asked == killed_after:
                raise Killed
            asked += 1
            yield pair

    return Loop(
        name="shrink",
        epochs=epochs,
        steps_per_epoch=STEPS,
        batches=batches,
        checkpoint=checkpoint,
        progress=SilentProgress(),
        checkpoint_seconds=None if checkpoint == NO_CHECKPOINT else 0.0,
    )


def shrunk(
    loop: Loop | None = None, settings: ShrinkSettings | None = None, **changes: Any
) -> tuple[SearchNet, Shrunk]:
    """A fresh tiny supernet, shrunk."""
    supernet = tiny_supernet()
    arguments = {"resolution": SIZE, "device": DEVICE, "seed": 3} | changes
    return supernet, shrink(supernet, settings or quick(), loop or tiny_loop(), **arguments)
