"""From assembled units to a network that can be saved, loaded and exported without us."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from distilnas.networks.chain import ChainNet
from distilnas.networks.parent import Border, Parent
from distilnas.surgery.chain import End


def student_of(
    modules: Sequence[nn.Module],
    ends: Sequence[End],
    *,
    model: str | None,
    model_kwargs: Mapping[str, Any],
    num_classes: int,
    image_shape: tuple[int, int, int],
) -> ChainNet:
    """The student whose units are ``modules``, the last one its head; those that it ends before are left out.

    ``ends``: where the teacher, timm's ``model`` with ``model_kwargs`` (None: the user's own), was cut into units.
    """
    *blocks, head = modules
    borders: tuple[Border, ...] = tuple(end.border for end in ends[: len(blocks)])
    parent = Parent(
        model=model, model_kwargs=model_kwargs, num_classes=num_classes, image_shape=image_shape, borders=borders
    )
    return ChainNet(parent, blocks, head).eval()
