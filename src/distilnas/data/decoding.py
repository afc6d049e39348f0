"""From an image file of any kind to 8-bit RGB, upright, without silent damage.

What Pillow's own ``convert("RGB")`` would do wrong is done here instead: transparent pixels are laid over white (not
the arbitrary colour stored beneath them), 16-bit gray is scaled (not clipped to 255), and the camera's orientation is
applied.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps

_FULL_16_BIT = 65535
_CHUNK = 1024

Item = TypeVar("Item")
Result = TypeVar("Result")


def to_rgb(image: Image.Image) -> Image.Image:
    """The image upright (EXIF orientation applied) in mode RGB, 8 bits a channel.

    Alpha, also of palette images, is composited onto white. 16-bit gray maps 0..65535 to 0..255 (divided by 257 and
    rounded); of 16-bit colour Pillow itself keeps the high byte. An image with several frames gives its first one.

    Raises ``ValueError`` for pixels whose white level is not defined: floating point, or integers outside 0..65535.
    """
    upright = ImageOps.exif_transpose(image)
    if upright.mode == "F":
        raise ValueError("floating-point pixels have no defined white level; save the image with 8 or 16 bits")
    if upright.mode == "I" or upright.mode.startswith("I;16"):
        return _from_16_bit(upright).convert("RGB")
    if upright.has_transparency_data:
        rgba = upright.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return upright.convert("RGB")


def _from_16_bit(image: Image.Image) -> Image.Image:
    gray = np.asarray(image).astype(np.int64)
    if gray.min() < 0 or gray.max() > _FULL_16_BIT:
        raise ValueError(f"integer pixels must lie in 0..{_FULL_16_BIT}, found {gray.min()}..{gray.max()}")
    return Image.fromarray(np.rint(gray / (_FULL_16_BIT / 255)).astype(np.uint8))


def problem(opened: Callable[[], Image.Image]) -> str | None:
    """Why the image that ``opened`` opens cannot be used, or None.

    The pixels are decoded, so truncated files are found. JPEG is decoded at an eighth of its size, which reads every
    byte but is faster.
    """
    try:
        with opened() as image:
            image.draft(None, (1, 1))
            to_rgb(image)
    except Exception as error:  # a broken file can raise almost anything from within its decoder
        return f"{type(error).__name__}: {error}"
    return None


def in_threads(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """``function`` of each item, in order, computed in a thread pool with a bounded number of results in flight.

    Pillow releases the interpreter lock while it decodes, so threads are enough.
    """
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(items), _CHUNK):
            yield from pool.map(function, items[start : start + _CHUNK])
