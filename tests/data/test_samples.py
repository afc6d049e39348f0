from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn.functional import interpolate

from distilnas.data.samples import digits
from distilnas.errors import UsageError


def test_digits_are_sklearns_enlarged() -> None:
    images = digits(40)
    data: Any = load_digits()
    assert isinstance(images.images, np.ndarray)
    assert images.images.shape == (1797, 40, 40, 3)
    np.testing.assert_array_equal(images.labels, data.target)
    assert images.images.min() == 0
    assert images.images.max() == 255
    # an independent bicubic; like Pillow's it works in bytes, first along rows, then along columns
    wide = interpolate(torch.tensor(data.images[:, None] * 255 / 16), (8, 40), mode="bicubic", antialias=True)
    enlarged = interpolate(wide.clamp(0, 255), (40, 40), mode="bicubic", antialias=True).clamp(0, 255)
    assert np.abs(images.images[..., 0] - enlarged[:, 0].numpy()).max() <= 2


def test_digits_are_stable_and_at_least_32_pixels() -> None:
    assert digits().fingerprint() == digits(32).fingerprint()
    with pytest.raises(UsageError, match="at least 32 pixels a side, got 16"):
        digits(16)
