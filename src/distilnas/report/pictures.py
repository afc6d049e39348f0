"""Small pictures inside the page: images and feature maps as PNG data URIs."""

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image
from plotly.colors import hex_to_rgb, sequential

from distilnas.records.features import STUDENTS, BlockFeatures, Features

_INPUT_SIDE, _MAP_SIDE = 112, 56
_LEVELS = 64
_STOPS = np.array([hex_to_rgb(colour) for colour in sequential.Viridis])
_SCALE = np.linspace(0, len(_STOPS) - 1, _LEVELS)
_PALETTE = np.stack([np.interp(_SCALE, range(len(_STOPS)), part) for part in _STOPS.T], 1).astype(np.uint8)


@dataclass(frozen=True, kw_only=True)
class ChannelHead:
    """A channel (from 0) of the teacher's feature, and how well the student's two forms correlate with it."""

    channel: int
    block: float
    assembled: float


@dataclass(frozen=True, kw_only=True)
class ImageRows:
    """An image and, of teacher, student block and assembled student, one map for each channel shown."""

    name: str
    label: str | None
    picture: str
    maps: dict[str, list[str]]


@dataclass(frozen=True, kw_only=True)
class BlockPictures:
    """What is shown of a block."""

    block: BlockFeatures
    channels: list[ChannelHead]
    images: list[ImageRows]


def block_pictures(features: Features) -> list[BlockPictures]:
    """The pictures of every compared block.

    The colours of a channel run from the 1st to the 99th percentile of the teacher's shown maps, for the student too.
    """
    return [_of_block(features, block) for block in features.comparison.blocks]


def _of_block(features: Features, block: BlockFeatures) -> BlockPictures:
    arrays, b = features.arrays, block.block
    channels = arrays[f"{b}/channels"].tolist()
    low, high = np.percentile(arrays[f"{b}/teacher"], (1, 99), axis=(0, 2, 3))  # (k,) each
    inputs = [picture_uri(pixels) for pixels in arrays["inputs"]]
    images = [
        ImageRows(
            name=image.name,
            label=image.label,
            picture=picture,
            maps={who: list(_maps(arrays[f"{b}/{who}"][n], low, high)) for who in ("teacher", *STUDENTS)},
        )
        for n, (image, picture) in enumerate(zip(features.comparison.images, inputs, strict=True))
    ]
    correlations = {who: arrays[f"{b}/correlation/{who}"] for who in STUDENTS}
    heads = [
        ChannelHead(channel=c, **{who: float(values[c]) for who, values in correlations.items()}) for c in channels
    ]
    return BlockPictures(block=block, channels=heads, images=images)


def _maps(maps: np.ndarray, low: np.ndarray, high: np.ndarray) -> Iterator[str]:
    return (map_uri(values, float(a), float(b)) for values, a, b in zip(maps, low, high, strict=True))


def picture_uri(pixels: np.ndarray) -> str:
    """(H, W, 3) uint8, made smaller where it is large."""
    image = Image.fromarray(pixels)
    image.thumbnail((_INPUT_SIDE, _INPUT_SIDE), Image.Resampling.LANCZOS)
    return _uri(image)


def map_uri(values: np.ndarray, low: float, high: float) -> str:
    """(H, W) in colours from ``low`` (dark) to ``high`` (bright), made smaller where it is large."""
    share = np.nan_to_num((values - low) / (high - low)) if high > low else np.full(values.shape, 0.5)
    levels = Image.fromarray((share.clip(0, 1) * (_LEVELS - 1)).round().astype(np.uint8))
    levels.thumbnail((_MAP_SIDE, _MAP_SIDE), Image.Resampling.BOX)
    coloured = Image.frombytes("P", levels.size, levels.tobytes())
    coloured.putpalette(_PALETTE.tobytes())
    return _uri(coloured)


def _uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
