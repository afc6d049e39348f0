"""A transform of the user's own in place of a described preprocessing, and what of it can be described."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from timm.data.random_erasing import RandomErasing
from torch import Tensor
from torchvision.transforms import RandomCrop, RandomResizedCrop, functional

from distilnas.errors import UsageError


def as_input(value: Any) -> Tensor:
    """(3, R, R) float32 on the CPU; raises ``ValueError`` for anything else."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        raise ValueError(f"an input is a tensor of floats (3, R, R), got {told(value)}")
    if value.ndim != 3 or value.shape[0] != 3 or value.shape[1] != value.shape[2]:
        raise ValueError(f"an input is a tensor (3, R, R), square and of three channels, got {told(value)}")
    return value.detach().to("cpu").float()


def told(value: Any) -> str:
    """Type, and of a tensor the shape, for messages."""
    return f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


@dataclass(frozen=True, kw_only=True)
class OwnTransform:
    """``text``: what records and pages say of it. ``apply``: from a Pillow image or tensor to the input (3, R, R); None
    where it is known from a record only."""

    text: str
    apply: Callable[[Any], Any] | None = None


class OwnInput:
    """An image to a network's input through a transform of the user's; while training with random changes before it.

    Pillow images are cut, mirrored and coloured before the transform, at their own size; tensors, which are inputs
    already, are cut and mirrored at theirs. Draws come from the global generators, as in ``applying``.
    """

    def __init__(
        self,
        own: OwnTransform,
        resolution: int,
        *,
        geometry: Sequence[Callable[[Any], Any]] = (),
        colour: Sequence[Callable[[Any], Any]] = (),
        erasing: float = 0.0,
    ) -> None:
        if own.apply is None:
            raise UsageError(
                f"images were prepared by a transform of your own ({own.text}): call distilnas.shrink with it again."
            )
        self._apply, self._resolution = own.apply, resolution
        self._geometry, self._colour = tuple(geometry), tuple(colour)
        self._erase = RandomErasing(erasing, device="cpu") if erasing else None

    def __call__(self, image: Image.Image | np.ndarray | Tensor) -> Tensor:
        """(3, R, R) float32. Raises ``ValueError`` where the transform gives anything else."""
        changed: Any = Image.fromarray(image) if isinstance(image, np.ndarray) else image
        for step in self._geometry:
            changed = step(changed)
        for step in self._colour:
            if isinstance(changed, Tensor):
                raise ValueError("auto_augment and color_jitter change Pillow's images, not prepared tensors")
            changed = step(changed)
        made = as_input(self._apply(changed))
        if made.shape[1] != self._resolution:
            raise ValueError(f"the first image became {self._resolution} pixels wide, this one {made.shape[1]}")
        return made if self._erase is None else self._erase(made)


@dataclass(frozen=True, kw_only=True)
class Crop:
    """A random crop at the image's own size; fields as in ``Augmentation``, ``padding`` as a share of the side."""

    kind: str
    scale: tuple[float, float]
    ratio: tuple[float, float]
    padding: float

    def __call__(self, image: Any) -> Any:
        if self.kind == "resized":
            top, left, height, width = RandomResizedCrop.get_params(image, list(self.scale), list(self.ratio))
            if isinstance(image, Tensor):
                size = list(image.shape[1:])
                return functional.resized_crop(image, top, left, height, width, size, antialias=True)
            return functional.crop(image, top, left, height, width)
        if self.kind == "padded":
            _, height, width = functional.get_dimensions(image)
            return RandomCrop((height, width), padding=round(self.padding * min(height, width)))(image)
        return image


def described(transform: Callable[[Any], Any]) -> Mapping[str, Any] | None:
    """The fields of a ``Preprocessing`` that a transform of torchvision's seems to be; None for any other.

    Read are the transforms that come with torchvision's weights, and compositions of resizing, a centre crop, a
    conversion to a tensor and a normalisation. To be checked on images: what the names say need not be all.
    """
    found = _preset(transform) if hasattr(transform, "crop_size") else _composed(transform)
    if found is None or not found.get("size"):
        return None
    size, resized = found["size"], found.get("resized") or found["size"]
    return {
        "resolution": size,
        "crop_pct": min(1.0, size / resized),
        "crop_mode": "squash" if found.get("squash") else "center",
        "interpolation": found.get("interpolation", "bilinear"),
        "mean": tuple(found.get("mean", (0.0, 0.0, 0.0))),
        "std": tuple(found.get("std", (1.0, 1.0, 1.0))),
    }


def _preset(transform: Any) -> dict[str, Any] | None:
    try:
        return {
            "size": _side(transform.crop_size),
            "resized": _side(transform.resize_size),
            "interpolation": transform.interpolation.value,
            "mean": transform.mean,
            "std": transform.std,
        }
    except AttributeError:
        return None


def _composed(transform: Any) -> dict[str, Any] | None:
    found: dict[str, Any] = {}
    for step in getattr(transform, "transforms", ()):
        match type(step).__name__:
            case "Resize":
                squash = isinstance(step.size, (list, tuple)) and len(step.size) == 2
                found |= {"resized": _side(step.size), "interpolation": step.interpolation.value, "squash": squash}
            case "CenterCrop":
                found["size"] = _side(step.size)
            case "Normalize":
                found |= {"mean": [float(x) for x in step.mean], "std": [float(x) for x in step.std]}
            case (
                "ToTensor"
                | "MaybeToTensor"
                | "ToImage"
                | "ToDtype"
                | "PILToTensor"
                | "ConvertImageDtype"
                | "ToPureTensor"
            ):
                pass
            case _:
                return None
    return {"size": found.get("resized"), **found} if found else None


def _side(size: Any) -> int | None:
    sides = {int(side) for side in size} if isinstance(size, (list, tuple)) else {int(size)}
    return sides.pop() if len(sides) == 1 else None
