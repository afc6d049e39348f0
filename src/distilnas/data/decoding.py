"""From an image file of any kind to 8-bit RGB, upright, without silent damage.

What Pillow's own ``convert("RGB")`` would do wrong is done here instead: transparent pixels are laid over white (not
the arbitrary colour stored beneath them), 16-bit gray is scaled (not clipped to 255), and the camera's orientation is
applied.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps

MAX_PIXELS = 89_478_485  # Pillow's own limit: a quarter of a gigabyte as RGB
_BIG = 2**24
_LONGEST = 250
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


def rgb_of(opened: Callable[[], Image.Image], max_pixels: int = MAX_PIXELS, *, draft: bool = False) -> Image.Image:
    """The image that ``opened`` opens, as :func:`to_rgb` makes it; large ones are decoded one at a time.

    draft: a JPEG is decoded at an eighth of its size.
    Raises ``ValueError`` for more than ``max_pixels``: a file of some kilobytes may hold gigabytes. Also for sides that
    differ so much that scaling the shorter one to a network's input would make gigabytes of the other.
    """
    if max_pixels > MAX_PIXELS and Image.MAX_IMAGE_PIXELS is not None and max_pixels > Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = max_pixels  # of this process: the user has raised it
    try:
        image = opened()
    except Image.DecompressionBombError as error:
        raise ValueError(f"it has more than max_pixels = {max_pixels:,} pixels ({error})") from error
    with image:
        width, height = image.size
        if width * height > max_pixels:
            raise ValueError(f"it has {width:,} x {height:,} pixels, more than max_pixels = {max_pixels:,} allows")
        if max(width, height) > _LONGEST * min(width, height):
            raise ValueError(f"its sides of {width:,} and {height:,} pixels differ more than {_LONGEST} times")
        if draft:
            image.draft(None, (1, 1))
        with _turn if image.size[0] * image.size[1] > _BIG else contextlib.nullcontext():
            return to_rgb(image)


_turn = threading.Lock()


def _new_turn() -> None:
    """A process that was forked while a thread held the lock would wait for ever."""
    global _turn
    _turn = threading.Lock()


os.register_at_fork(after_in_child=_new_turn)


def problem(opened: Callable[[], Image.Image], max_pixels: int = MAX_PIXELS) -> str | None:
    """Why the image that ``opened`` opens cannot be used, or None.

    The pixels are decoded, so truncated files are found. JPEG is decoded at an eighth of its size, which reads every
    byte but is faster.
    """
    try:
        rgb_of(opened, max_pixels, draft=True)
    except MemoryError:
        raise
    except Exception as error:  # a broken file can raise almost anything from within its decoder
        return f"{type(error).__name__}: {error}"
    return None


def in_threads(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """``function`` of each item, in order, computed in a thread pool with a bounded number of results in flight.

    Pillow releases the interpreter lock while it decodes, so threads are enough.
    """
    with ThreadPoolExecutor() as pool:
        try:
            for start in range(0, len(items), _CHUNK):
                yield from pool.map(function, items[start : start + _CHUNK])
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
