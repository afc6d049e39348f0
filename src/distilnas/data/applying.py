"""Applying a transform to one image: through Pillow, or by a shortcut for small images held in memory.

The shortcut is for arrays of exactly the network's resolution. It crops and flips the array itself, with the same
random draws and to exactly the same values as the way through Pillow, in about a quarter of the time.
"""

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from timm.data.random_erasing import RandomErasing
from torch import Tensor
from torchvision import transforms
from torchvision.transforms.functional import pil_to_tensor

from distilnas.data.decoding import to_rgb

_ORIENTATION = 0x0112


class ImageTransform:
    """Image to network input: a Pillow image or (H, W, 3) uint8 gives a (3, R, R) float32 tensor.

    A Pillow image of any mode and orientation becomes RGB as training images do, see ``decoding.to_rgb``.

    Random steps draw from the global generators of ``random``, ``numpy`` and ``torch``, as those libraries do; the
    loader seeds them for each image. An array and the Pillow image of the same pixels give exactly the same tensor.
    """

    def __init__(
        self,
        steps: list[Callable],
        *,
        resolution: int,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        shortcut: Callable[[np.ndarray], np.ndarray] | None,
        random_erasing: float = 0.0,
    ) -> None:
        """``steps`` make a Pillow image of R x R pixels; ``shortcut``, if any, does the same to an array of R x R."""
        self._shape = (resolution, resolution, 3)
        self._steps = transforms.Compose(steps)
        self._shortcut = shortcut
        self._mean = torch.tensor(mean).view(3, 1, 1)
        self._std = torch.tensor(std).view(3, 1, 1)
        self._erase = RandomErasing(random_erasing, device="cpu") if random_erasing else None

    def __call__(self, image: Image.Image | np.ndarray) -> Tensor:
        tensor = self._pixels(image).to(torch.float32).div_(255).sub_(self._mean).div_(self._std)
        return tensor if self._erase is None else self._erase(tensor)

    def _pixels(self, image: Image.Image | np.ndarray) -> Tensor:
        """(3, R, R) uint8."""
        if not isinstance(image, np.ndarray):
            return pil_to_tensor(self._steps(image if _is_plain(image) else to_rgb(image)))
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            return self._pixels(to_rgb(Image.fromarray(image)))
        if self._shortcut is None or image.shape != self._shape:
            return pil_to_tensor(self._steps(Image.fromarray(image)))
        return torch.from_numpy(np.ascontiguousarray(self._shortcut(image).transpose(2, 0, 1)))


def _is_plain(image: Image.Image) -> bool:
    """Whether an image is what ``to_rgb`` makes: RGB, opaque and upright."""
    turned = image.getexif().get(_ORIENTATION, 1) != 1 if "exif" in image.info else False
    return image.mode == "RGB" and not turned and not image.has_transparency_data


class CropAndFlip:
    """Padded crop and flips of (R, R, 3) uint8 arrays; draws exactly as torchvision's RandomCrop and flips do."""

    def __init__(self, *, padding: int, hflip: float, vflip: float) -> None:
        """padding: black pixels on each side before the crop, 0 for no crop; hflip, vflip: probabilities."""
        self._padding = padding
        self._hflip = hflip
        self._vflip = vflip

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        pixels = self._cropped(pixels) if self._padding else pixels
        if self._hflip and torch.rand(1) < self._hflip:
            pixels = pixels[:, ::-1]
        if self._vflip and torch.rand(1) < self._vflip:
            pixels = pixels[::-1]
        return pixels

    def _cropped(self, pixels: np.ndarray) -> np.ndarray:
        side, pad = len(pixels), self._padding
        wide = side + 2 * pad
        canvas = np.zeros((wide, wide, 3), dtype=np.uint8)
        canvas[pad:-pad, pad:-pad] = pixels
        top, left, _, _ = transforms.RandomCrop.get_params(torch.empty(1, wide, wide), (side, side))
        return canvas[top : top + side, left : left + side]
