"""A labelled set of images, on disk or in memory: the one record that everything about data takes and gives."""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from distilnas.data.decoding import in_threads, read_rgb
from distilnas.errors import DistilnasError

logger = logging.getLogger(__name__)

_MIB = 2**20


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageSet:
    """Images with class labels. Arrays are read-only views; ``subset`` and ``decoded`` give new sets.

    name: what messages and reports call the set.
    classes: class names; ``labels[i]`` indexes them.
    labels: (n,) int64.
    images: either n files, decoded anew at every access, or pixels (n, H, W, 3) uint8 RGB.
    files: of a set held in memory, the n files that the pixels came from, or None when there are none.
    root: the folder relative to which files are named, or None to name them by their whole path.
    skipped: files below ``root`` that were left out because they cannot be decoded.
    """

    name: str
    classes: tuple[str, ...]
    labels: np.ndarray
    images: tuple[Path, ...] | np.ndarray
    files: tuple[Path, ...] | None = None
    root: Path | None = None
    skipped: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        assert self.labels.dtype == np.int64, self.labels.dtype
        assert self.labels.shape == (len(self.images),), (self.labels.shape, len(self.images))
        assert self.labels.size == 0 or 0 <= self.labels.min() <= self.labels.max() < len(self.classes)
        assert self.files is None or len(self.files) == len(self.images)
        object.__setattr__(self, "labels", _read_only(self.labels))
        if isinstance(self.images, np.ndarray):
            assert self.images.dtype == np.uint8, self.images.dtype
            assert self.images.ndim == 4, self.images.shape
            assert self.images.shape[3] == 3, self.images.shape
            object.__setattr__(self, "images", _read_only(self.images))
        else:
            object.__setattr__(self, "files", self.images)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def class_counts(self) -> np.ndarray:
        """(number of classes,) int64: how many images each class has."""
        return np.bincount(self.labels, minlength=len(self.classes))

    def name_of(self, i: int) -> str:
        """What messages call image ``i``: its file's name below ``root``, or its number."""
        return f"number {i} of {self.name}" if self.files is None else self._relative(self.files[i])

    def _relative(self, file: Path) -> str:
        return (file if self.root is None else file.relative_to(self.root)).as_posix()

    def pil(self, i: int) -> Image.Image:
        """Image ``i`` in mode RGB, upright. Raises ``DistilnasError`` naming the file if it cannot be decoded."""
        if isinstance(self.images, np.ndarray):
            return Image.fromarray(self.images[i])
        try:
            return read_rgb(self.images[i])
        except Exception as error:  # a broken file can raise almost anything from within its decoder
            raise DistilnasError(
                f"Image {self.images[i]} cannot be decoded ({type(error).__name__}: {error}). Was it changed or "
                "moved since the folder was read? Restore or remove it, then start again."
            ) from error

    def raw(self, i: int) -> Image.Image | np.ndarray:
        """Image ``i`` in its cheapest form: (H, W, 3) uint8 when held in memory, else as :meth:`pil`."""
        return self.images[i] if isinstance(self.images, np.ndarray) else self.pil(i)

    def subset(self, indices: Sequence[int] | np.ndarray) -> "ImageSet":
        """The images at ``indices``, in that order."""
        chosen = np.asarray(indices, dtype=np.int64)
        files = None if self.files is None else tuple(self.files[i] for i in chosen)
        images = self.images[chosen] if isinstance(self.images, np.ndarray) else files
        assert images is not None
        return replace(self, labels=self.labels[chosen], images=images, files=files)

    def fingerprint(self) -> str:
        """sha256 (hex) of the set's content: equal for equal data wherever it lies, and unchanged by :meth:`decoded`.

        With files: class names, labels, file names below ``root`` and file sizes in bytes (not the bytes themselves, so
        that large sets take seconds). Without: class names, labels and pixels. The set's name does not count.
        """
        digest = hashlib.sha256(json.dumps(self.classes).encode())
        digest.update(self.labels.astype("<i8").tobytes())
        if self.files is not None:
            for file in self.files:
                digest.update(json.dumps([self._relative(file), _size(file)]).encode())
        elif isinstance(self.images, np.ndarray):
            digest.update(json.dumps(self.images.shape).encode())
            digest.update(np.ascontiguousarray(self.images).data)
        return digest.hexdigest()

    def decoded(self, limit_mb: float) -> "ImageSet":
        """A copy with all pixels in memory if all images have one size and fit into ``limit_mb`` MiB; else ``self``.

        Small images train several times faster from memory than from files.
        """
        if isinstance(self.images, np.ndarray) or not self.images:
            return self
        shape = np.asarray(self.pil(0)).shape
        size_mb = len(self) * int(np.prod(shape)) / _MIB
        if size_mb > limit_mb:
            logger.info(
                "%s stays on disk: decoded it would take %.0f MiB, limit %.0f MiB", self.name, size_mb, limit_mb
            )
            return self
        pixels = np.empty((len(self), *shape), dtype=np.uint8)
        for i, image in enumerate(in_threads(lambda j: np.asarray(self.pil(j)), range(len(self)))):
            if image.shape != shape:
                logger.info("%s stays on disk: its images differ in size", self.name)
                return self
            pixels[i] = image
        return replace(self, images=pixels)


def _read_only(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError as error:
        raise DistilnasError(
            f"Image {file} is gone ({error.strerror}). Restore it, or start again without it."
        ) from error
