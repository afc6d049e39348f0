"""Image sets that come with the installed packages: something to try everything on without a download."""

import numpy as np
from PIL import Image

from distilnas.data.imageset import ImageSet
from distilnas.errors import UsageError

_SMALLEST = 32
_BRIGHTEST = 16


def digits(size: int = _SMALLEST) -> ImageSet:
    """scikit-learn's handwritten digits: 1,797 gray 8x8 images in ten classes, upsampled to ``size`` (bicubic).

    The original values 0..16 are scaled to 0..255 and repeated for R, G and B; the result lies in memory.
    Raises ``UsageError`` when ``size`` is below 32, where networks with the usual five halvings have no pixels left.
    """
    from sklearn.datasets import load_digits  # takes a second to import, and most runs bring their own images

    if size < _SMALLEST:
        raise UsageError(
            f"The digits sample needs at least {_SMALLEST} pixels a side, got {size}. Set size={_SMALLEST} or more."
        )
    images, labels = map(np.asarray, load_digits(return_X_y=True))
    gray = np.rint(images.reshape(-1, 8, 8) * (255 / _BRIGHTEST)).astype(np.uint8)
    return ImageSet(
        name="digits",
        classes=tuple(str(digit) for digit in range(10)),
        labels=labels.astype(np.int64),
        images=np.stack([_enlarged(image, size) for image in gray]),
    )


def _enlarged(gray: np.ndarray, size: int) -> np.ndarray:
    return np.asarray(Image.fromarray(gray).resize((size, size), Image.Resampling.BICUBIC).convert("RGB"))
