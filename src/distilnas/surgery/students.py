"""An assembled student as a network: its parent's parts in a row, to be trained, saved, loaded and exported."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from distilnas.networks.chain import ChainNet
from distilnas.networks.parent import Parent
from distilnas.networks.plan import Skip
from distilnas.surgery.chain import Unit


def parent_of(
    units: Sequence[Unit],
    image_shape: tuple[int, int, int],
    *,
    model: str | None,
    num_classes: int,
    model_kwargs: Mapping[str, Any] | None = None,
) -> Parent:
    """The teacher's name and borders, unit by unit; ``model`` is timm's name, None for another's network."""
    borders = tuple(unit.border for unit in units if unit.border is not None)
    return Parent(
        model=model,
        model_kwargs=dict(model_kwargs or {}),
        num_classes=num_classes,
        image_shape=image_shape,
        borders=borders,
    )


def student_net(parent: Parent, modules: Sequence[nn.Module]) -> ChainNet:
    """The network of ``assemble.assemble``'s ``modules``, in eval mode, its weights free to be trained.

    Behind an early end the parent's other parts are left out (`Skip`). The modules are taken over.
    """
    *blocks, head = modules
    missing = [Skip() for _ in range(len(parent.borders) - len(blocks))]
    return ChainNet(parent, [*blocks, *missing], head).requires_grad_(True).eval()
