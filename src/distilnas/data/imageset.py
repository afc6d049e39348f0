"""A labelled set of images, on disk or in memory: the one record that everything about data takes and gives."""

import contextlib
import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from PIL import Image
from torch import Tensor

from distilnas.data.decoding import MAX_PIXELS, in_threads, rgb_of
from distilnas.data.given_readers import PreparedReader
from distilnas.data.readers import ImageReader
from distilnas.errors import DistilnasError

logger = logging.getLogger(__name__)

_MIB = 2**20
Read = TypeVar("Read")


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageSet:
    """Images with class labels. Arrays are read-only views; ``subset`` and ``decoded`` give new sets.

    name: what messages and reports call the set.
    classes: class names; ``labels[i]`` indexes them.
    labels: (n,) int64.
    images: a reader of n stored images, decoded anew at every access, or pixels (n, H, W, 3) uint8 RGB.
    origin: of a set held in memory, the reader that the pixels came from, or None when there is none.
    skipped: names of images that were left out because they cannot be decoded.
    max_pixels: a stored image of more is refused.
    """

    name: str
    classes: tuple[str, ...]
    labels: np.ndarray
    images: ImageReader | np.ndarray
    origin: ImageReader | None = None
    skipped: tuple[str, ...] = ()
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        assert self.labels.dtype == np.int64, self.labels.dtype
        assert self.labels.shape == (len(self.images),), (self.labels.shape, len(self.images))
        assert self.labels.size == 0 or 0 <= self.labels.min() <= self.labels.max() < len(self.classes)
        assert self.origin is None or len(self.origin) == len(self.images)
        object.__setattr__(self, "labels", _read_only(self.labels))
        if isinstance(self.images, np.ndarray):
            assert self.images.dtype == np.uint8, self.images.dtype
            assert self.images.ndim == 4, self.images.shape
            assert self.images.shape[3] == 3, self.images.shape
            object.__setattr__(self, "images", _read_only(self.images))
        else:
            object.__setattr__(self, "origin", self.images)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def class_counts(self) -> np.ndarray:
        """(number of classes,) int64: how many images each class has."""
        return np.bincount(self.labels, minlength=len(self.classes))

    def name_of(self, i: int) -> str:
        """What messages call image ``i``: its name where it is stored, or its number."""
        return f"number {i} of {self.name}" if self.origin is None else self.origin.name_of(i)

    def pil(self, i: int) -> Image.Image:
        """Image ``i`` in mode RGB, upright. Raises ``DistilnasError`` naming the image if it cannot be decoded."""
        if isinstance(self.images, np.ndarray):
            return Image.fromarray(self.images[i])
        reader = self.images
        return self._guarded(i, lambda: rgb_of(lambda: reader.open(i), self.max_pixels))

    def _guarded(self, i: int, read: Callable[[], Read]) -> Read:
        assert not isinstance(self.images, np.ndarray)
        try:
            return read()
        except MemoryError:
            raise
        except Exception as error:  # a broken file can raise almost anything from within its decoder
            raise DistilnasError(
                f"Image {self.images.place}/{self.name_of(i)} cannot be decoded ({type(error).__name__}: {error}). If "
                "it was changed or moved since the images were listed, restore it; if it is damaged, remove it or list "
                "the images with check=all; then start again."
            ) from error

    def raw(self, i: int) -> Image.Image | np.ndarray | Tensor:
        """Image ``i`` in its cheapest form: (H, W, 3) uint8 when held in memory, else as :meth:`pil`.

        Of a data set of prepared inputs it is (3, R, R) float32. Raises ``DistilnasError`` as ``pil`` does.
        """
        if isinstance(self.images, PreparedReader):
            reader = self.images
            return self._guarded(i, lambda: reader.tensor(i))
        return self.images[i] if isinstance(self.images, np.ndarray) else self.pil(i)

    def subset(self, indices: Sequence[int] | np.ndarray) -> "ImageSet":
        """The images at ``indices``, in that order."""
        chosen = np.asarray(indices, dtype=np.int64)
        origin = None if self.origin is None else self.origin.subset(chosen)
        images = self.images[chosen] if isinstance(self.images, np.ndarray) else origin
        assert images is not None
        return replace(self, labels=self.labels[chosen], images=images, origin=origin)

    def fingerprint(self) -> str:
        """sha256 (hex) of the set's content: equal for equal data wherever it lies, and unchanged by :meth:`decoded`.

        With a reader: class names, labels, names of the images and their sizes in bytes (not the bytes themselves, so
        that large sets take seconds). Without: class names, labels and pixels. The set's name does not count.
        """
        digest = hashlib.sha256(json.dumps(self.classes).encode())
        digest.update(self.labels.astype("<i8").tobytes())
        if self.origin is not None:
            for i, size in enumerate(self.origin.sizes().tolist()):
                digest.update(json.dumps([self.origin.name_of(i), size]).encode())
        elif isinstance(self.images, np.ndarray):
            digest.update(json.dumps(self.images.shape).encode())
            digest.update(np.ascontiguousarray(self.images).data)
        return digest.hexdigest()

    def decoded(self, limit_mb: float) -> "ImageSet":
        """A copy with all pixels in memory if all images have one size and fit into ``limit_mb`` MiB; else ``self``.

        Small images train several times faster from memory than from files.
        """
        if isinstance(self.images, np.ndarray | PreparedReader) or not len(self):
            return self
        shape = np.asarray(self.pil(0)).shape
        size_mb = len(self) * int(np.prod(shape)) / _MIB
        if size_mb > limit_mb:
            logger.info(
                "%s stays on disk: decoded it would take %.0f MiB, limit %.0f MiB", self.name, size_mb, limit_mb
            )
            return self
        pixels = np.empty((len(self), *shape), dtype=np.uint8)
        for i, image in enumerate(in_threads(lambda j: self._of_shape(j, shape), range(len(self)))):
            if image is None:
                logger.info("%s stays on disk: its images differ in size", self.name)
                return self
            pixels[i] = image
        return replace(self, images=pixels)

    def _of_shape(self, i: int, shape: tuple[int, ...]) -> np.ndarray | None:
        """The pixels of image ``i``, or None, without decoding them, where they cannot have ``shape``."""
        assert not isinstance(self.images, np.ndarray)
        with contextlib.suppress(OSError), self.images.open(i) as image:  # a damaged one is told of below
            if sorted(image.size) != sorted(shape[:2]):
                return None
        pixels = np.asarray(self.pil(i))
        return pixels if pixels.shape == shape else None


def _read_only(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view
