"""Readers of images that lie in the user's own data set, see ``given``."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from distilnas.data.own_transform import as_input
from distilnas.errors import UsageError

_IMAGE, _LABEL = ("image", "img", "pixel_values"), ("label", "labels", "target", "fine_label")


@dataclass(frozen=True, kw_only=True, eq=False)
class GivenReader:
    """Images of a data set whose items are images or pixels. Items at ``indices`` are read when they are asked for."""

    place: str
    items: Any
    indices: np.ndarray

    def __len__(self) -> int:
        return len(self.indices)

    def name_of(self, i: int) -> str:
        return f"item {self.indices[i]}"

    def open(self, i: int) -> Image.Image:
        image, _ = parts_of(self.items[int(self.indices[i])])
        return image if isinstance(image, Image.Image) else Image.fromarray(np.asarray(image))

    def sizes(self) -> np.ndarray:
        """Not known: data sets are told apart by ``key_of``."""
        return np.zeros(len(self), dtype=np.int64)

    def subset(self, indices: np.ndarray) -> "GivenReader":
        return replace(self, indices=self.indices[indices])


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedReader(GivenReader):
    """Images of a data set whose items are the network's inputs; ``transform`` makes them so where they are not yet."""

    transform: Callable[[Any], Tensor] | None = None

    def tensor(self, i: int) -> Tensor:
        """(3, R, R) float32. Raises ``ValueError`` for anything else."""
        image, _ = parts_of(self.items[int(self.indices[i])])
        return as_input(image if self.transform is None else self.transform(image))

    def open(self, i: int) -> Image.Image:
        """A picture of it: from its least to its greatest value, as normalisation is not known."""
        values = self.tensor(i)
        low, high = values.min(), values.max()
        pixels = (values - low) / (high - low).clamp_min(1e-12) * 255
        return Image.fromarray(pixels.round().to(torch.uint8).permute(1, 2, 0).numpy())


def parts_of(item: Any) -> tuple[Any, Any]:
    """Image and label of an item; raises ``UsageError`` where it has not both."""
    if isinstance(item, Mapping):
        found = [next((item[key] for key in keys if key in item), None) for keys in (_IMAGE, _LABEL)]
        if found[0] is not None and found[1] is not None:
            return found[0], found[1]
        raise UsageError(f"an item of a data set has an image and a label, got {sorted(map(str, item))}.")
    if isinstance(item, (tuple, list)) and len(item) >= 2:
        return item[0], item[1]
    raise UsageError(
        f"an item of a data set is (image, label), got {type(item).__name__}: give a Dataset whose items are pairs."
    )
