"""From a decoded image to a network's input: what the network was trained to expect, and augmentation for training.

The steps themselves are timm's and torchvision's; ``applying`` adds a shortcut for small images held in memory.
"""

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError
from timm.data.config import resolve_data_config
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.data.transforms_factory import transforms_imagenet_eval, transforms_imagenet_train
from torch import nn
from torchvision import transforms

from distilnas.data.applying import CropAndFlip, ImageTransform
from distilnas.data.imageset import ImageSet
from distilnas.data.own_transform import Crop, OwnInput, OwnTransform, as_input, described
from distilnas.errors import UsageError, nearest

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "box", "hamming", "lanczos")
CROP_MODES = ("center", "squash", "border")
CROPS = ("resized", "padded", "none")
_TRIED = 8
_LONGEST_TEXT = 300


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How a network wants its images; the names and meanings are those of timm's pretrained configurations.

    resolution: height and width of the input in pixels.
    mean, std: of R, G and B on the scale 0..1; the input is ``(value / 255 - mean) / std``.
    crop_pct: the image is scaled to ``resolution / crop_pct`` and its centre cut out; 1 keeps all of a square image.
    crop_mode: what is scaled to that size: the shorter side (center), both sides (squash), the longer side (border).
    own: the user's own transform, which takes the place of all that; the other fields then only describe.
    """

    resolution: int
    mean: tuple[float, float, float] = IMAGENET_DEFAULT_MEAN
    std: tuple[float, float, float] = IMAGENET_DEFAULT_STD
    interpolation: str = "bicubic"
    crop_pct: float = 1.0
    crop_mode: str = "center"
    own: OwnTransform | None = None

    def __post_init__(self) -> None:
        if self.resolution < 1:
            raise UsageError(f"resolution must be at least 1 pixel, got {self.resolution}.")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise UsageError(
                f"mean and std need three numbers each (R, G, B), std above 0, got mean={self.mean} std={self.std}."
            )
        if not 0 < self.crop_pct <= 1:
            raise UsageError(f"crop_pct must be above 0 and at most 1, got {self.crop_pct}.")
        _check_choice("interpolation", self.interpolation, INTERPOLATIONS)
        _check_choice("crop_mode", self.crop_mode, CROP_MODES)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; :meth:`from_dict` gives the equal record back."""
        own = {} if self.own is None else {"own": self.own.text}
        plain = asdict(replace(self, own=None))
        plain.pop("own")
        return {**plain, "mean": list(self.mean), "std": list(self.std), **own}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Preprocessing":
        """Raises ``UsageError`` for unknown and missing keys and invalid values.

        Of the user's own transform only the text comes back.
        """
        if not isinstance(data, Mapping):
            raise UsageError(f"Preprocessing is a mapping (resolution, mean, std, ...), got {data!r:.60}.")
        known = {field.name for field in fields(cls)}
        for key in data:
            if key not in known:
                raise UsageError(f"Preprocessing has no setting {key!r}; {nearest(key, known)}")
        if "resolution" not in data:
            raise UsageError(f"Preprocessing needs resolution (pixels), got only {sorted(data)}.")
        try:
            own = {"own": OwnTransform(text=str(data["own"]))} if "own" in data else {}
            return TypeAdapter(cls).validate_python({**data, **own})
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"]))
            raise UsageError(f"Preprocessing: {name}: {first['msg']}, got {first['input']!r:.60}.") from error

    @classmethod
    def from_timm(cls, source: nn.Module | Mapping[str, Any], resolution: int | None = None) -> "Preprocessing":
        """What a timm model, or a pretrained configuration (``model.pretrained_cfg``), expects.

        What it does not say is timm's default (224 pixels, ImageNet's mean and std, bicubic, 0.875, center).
        ``resolution`` overrides only the resolution. Raises ``UsageError`` when there is no configuration and when the
        input is not square or not RGB.
        """
        config = source if isinstance(source, Mapping) else getattr(source, "pretrained_cfg", None)
        if not config:
            raise UsageError(
                f"{type(source).__name__} does not say how it wants its images (no pretrained_cfg, which timm's models "
                "have). Give its preprocessing: resolution, mean, std, interpolation, crop_pct."
            )
        resolved = resolve_data_config(pretrained_cfg=config)
        channels, height, width = resolved["input_size"]
        if channels != 3:
            raise UsageError(
                f"Networks must take RGB images (3 channels); this one takes {channels}. Choose another model."
            )
        if height != width and resolution is None:
            raise UsageError(f"The network's input must be square, it is {height}x{width}. Set the resolution.")
        return cls(
            resolution=resolution if resolution is not None else height,
            mean=tuple(resolved["mean"]),
            std=tuple(resolved["std"]),
            interpolation=resolved["interpolation"],
            crop_pct=resolved["crop_pct"],
            crop_mode=resolved["crop_mode"],
        )


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random changes to training images, applied in the order of the fields.

    crop: "resized" takes a random share ``scale`` of the image's area with an aspect in ``ratio`` and resizes it
        (trainings on ImageNet usually take 0.08 to 1); "padded" scales the shorter side to the resolution, adds
        ``padding`` black pixels around and cuts out a random square (CIFAR style); "none" does what evaluation does.
    hflip, vflip: probability of mirroring left-right, top-bottom.
    auto_augment: timm's text for a policy, such as "rand-m9-mstd0.5-inc1" or "augmix-m3-w3"; None for none.
    color_jitter: strength of random brightness, contrast and saturation, 0 for none. Unlike in timm it is not silently
        dropped when ``auto_augment`` is set.
    random_erasing: probability of setting a random rectangle to the mean colour.
    """

    crop: str = "resized"
    scale: tuple[float, float] = (0.6, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    padding: int = 4
    hflip: float = 0.5
    vflip: float = 0.0
    auto_augment: str | None = None
    color_jitter: float = 0.0
    random_erasing: float = 0.0

    def __post_init__(self) -> None:
        _check_choice("crop", self.crop, CROPS)
        for name in ("hflip", "vflip", "random_erasing"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} is a probability from 0 to 1, got {getattr(self, name)}.")
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise UsageError(f"scale is a range of shares, 0 < low <= high <= 1, got {self.scale}.")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise UsageError(f"ratio is a range of aspects, 0 < low <= high, got {self.ratio}.")
        if self.padding < 0 or self.color_jitter < 0:
            raise UsageError(
                f"padding and color_jitter must not be negative, got {self.padding} and {self.color_jitter}."
            )
        try:
            self.colour_steps(Preprocessing(resolution=32))
        except (AssertionError, ValueError, KeyError) as error:
            raise UsageError(
                f"auto_augment must be a policy that timm knows, got {self.auto_augment!r}. "
                "Valid are for example rand-m9-mstd0.5-inc1, augmix-m3-w3, original, 3a."
            ) from error

    def colour_steps(self, pre: Preprocessing) -> list[Callable]:
        """``auto_augment`` and ``color_jitter`` as transforms of Pillow images."""
        parts: Any = transforms_imagenet_train(
            pre.resolution,
            auto_augment=self.auto_augment,
            color_jitter=self.color_jitter or None,  # pyright: ignore[reportArgumentType]  None means none
            force_color_jitter=True,
            interpolation=pre.interpolation,
            mean=pre.mean,
            separate=True,
        )
        for part in parts[1].transforms:
            _keep_a_bit(part)
        return parts[1].transforms


def eval_transform(pre: Preprocessing) -> ImageTransform | OwnInput:
    """What timm, or the user's own transform, does to an image before a network sees it; nothing random."""
    if pre.own is not None:
        return OwnInput(pre.own, pre.resolution)
    shortcut = _unchanged if _keeps_exact_size(pre) else None
    return ImageTransform(_eval_steps(pre), resolution=pre.resolution, mean=pre.mean, std=pre.std, shortcut=shortcut)


def train_transform(pre: Preprocessing, aug: Augmentation) -> ImageTransform | OwnInput:
    """``pre`` with the random changes of ``aug``."""
    if pre.own is not None:
        crop = Crop(kind=aug.crop, scale=aug.scale, ratio=aug.ratio, padding=aug.padding / pre.resolution)
        return OwnInput(
            pre.own,
            pre.resolution,
            geometry=[crop, *_flips(aug)],
            colour=aug.colour_steps(pre),
            erasing=aug.random_erasing,
        )
    steps = _crop_steps(pre, aug) + _flips(aug)
    colour = aug.colour_steps(pre)
    padding = aug.padding if aug.crop == "padded" else 0
    on_array = not colour and (aug.crop == "padded" or (aug.crop == "none" and _keeps_exact_size(pre)))
    return ImageTransform(
        steps + colour,
        resolution=pre.resolution,
        mean=pre.mean,
        std=pre.std,
        shortcut=CropAndFlip(padding=padding, hflip=aug.hflip, vflip=aug.vflip) if on_array else None,
        random_erasing=aug.random_erasing,
    )


def preprocessing_of(transform: Callable[[Any], Any], images: ImageSet) -> Preprocessing:
    """What a transform of the user's does to ``images``: described where it is the usual steps, which is tried on some
    images, else as it is.

    Raises ``UsageError`` where it does not give tensors (3, R, R).
    """
    some = [images.pil(i) for i in range(min(_TRIED, len(images)))]
    try:
        wanted = [as_input(transform(image)) for image in some]
    except Exception as error:  # a transform may raise anything
        raise UsageError(
            f"the transform makes an image a tensor (3, R, R) of floats, but of {images.name_of(0)} it made an error "
            f"({type(error).__name__}: {error}). Give one that ends e.g. in ToTensor() and Normalize(mean, std)."
        ) from error
    if (fields := described(transform)) is not None:
        pre = Preprocessing(**fields)
        given = [eval_transform(pre)(image) for image in some]
        if all(a.shape == b.shape and torch.allclose(a, b, atol=1e-5) for a, b in zip(given, wanted, strict=True)):
            return pre
    own = OwnTransform(text=" ".join(repr(transform).split())[:_LONGEST_TEXT], apply=transform)
    return Preprocessing(resolution=wanted[0].shape[1], mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), own=own)


def as_given(images: ImageSet) -> Preprocessing:
    """For images that are the network's inputs already."""
    side = images.raw(0).shape[1]  # type: ignore[union-attr] - a tensor
    own = OwnTransform(text="images are given as the network wants them", apply=as_input)
    return Preprocessing(resolution=side, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), own=own)


def _eval_steps(pre: Preprocessing) -> list[Callable]:
    whole = transforms_imagenet_eval(
        pre.resolution,
        crop_pct=pre.crop_pct,
        crop_mode=pre.crop_mode,
        interpolation=pre.interpolation,
        mean=pre.mean,
        normalize=False,
    )
    return whole.transforms[:-1]  # the last step makes a tensor, which ImageTransform does


def _crop_steps(pre: Preprocessing, aug: Augmentation) -> list[Callable]:
    if aug.crop == "none":
        return _eval_steps(pre)
    if aug.crop == "padded":
        resize = transforms.Resize(pre.resolution, interpolation=transforms.InterpolationMode(pre.interpolation))
        return [resize, transforms.RandomCrop(pre.resolution, padding=aug.padding)]
    parts: Any = transforms_imagenet_train(
        pre.resolution, scale=aug.scale, ratio=aug.ratio, hflip=0.0, interpolation=pre.interpolation, separate=True
    )
    return parts[0].transforms


def _flips(aug: Augmentation) -> list[Callable]:
    steps: list[Callable] = [transforms.RandomHorizontalFlip(aug.hflip)] if aug.hflip else []
    return steps + ([transforms.RandomVerticalFlip(aug.vflip)] if aug.vflip else [])


def _keeps_exact_size(pre: Preprocessing) -> bool:
    """Whether evaluation leaves an image of exactly the resolution as it is."""
    return math.floor(pre.resolution / pre.crop_pct) == pre.resolution


def _unchanged(pixels: np.ndarray) -> np.ndarray:
    return pixels


def _keep_a_bit(part: Any) -> None:
    """timm's posterize may keep 0 bits at high magnitudes, which Pillow 13 refuses; here it keeps at least 1."""
    policies = getattr(part, "policy", [getattr(part, "ops", [])])  # AutoAugment's sub-policies; RandAugment, AugMix
    for op in itertools.chain.from_iterable(policies):
        if op.name.startswith("Posterize"):
            op.level_fn = partial(_at_least_one, op.level_fn)


def _at_least_one(level: Callable[..., tuple[int, ...]], *args: Any) -> tuple[int, ...]:
    return tuple(max(1, bits) for bits in level(*args))


def _check_choice(setting: str, value: str, valid: tuple[str, ...]) -> None:
    if value not in valid:
        raise UsageError(f"{setting} must be one of {', '.join(valid)}, got {value!r}; {nearest(value, valid)}")
