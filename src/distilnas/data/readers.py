"""Where the images of a set lie when they are not pixels in memory: something that opens image ``i`` of ``n``.

A reader keeps no open file and nothing that changes, so threads and worker processes may share it or have copies, and
any order of access gives the same images. Names are kept as numpy bytes, not as Python objects: a million of them take
tens of megabytes, and worker processes share that memory instead of copying it while they count references.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, Self

import numpy as np
from PIL import Image

from distilnas.errors import DistilnasError


class ImageReader(Protocol):
    """Random access to stored images. Final classes implement it; an image set holds one and asks it for everything."""

    @property
    def place(self) -> str:
        """Where the images lie; ``place/name`` is what messages call an image."""
        ...

    def __len__(self) -> int: ...

    def name_of(self, i: int) -> str:
        """Name of image ``i``: it does not change when ``place`` is moved or renamed."""
        ...

    def open(self, i: int) -> Image.Image:
        """Image ``i`` in any of Pillow's modes, decoded only when its pixels are asked for.

        Raises whatever the file system or Pillow raises for an image that is gone or damaged.
        """
        ...

    def sizes(self) -> np.ndarray:
        """(n,) int64: bytes that each image takes where it lies; found without reading the images."""
        ...

    def subset(self, indices: np.ndarray) -> Self:
        """The images at ``indices``, in that order."""
        ...


def packed(names: Iterable[str]) -> np.ndarray:
    """Names as one numpy array of bytes (n,), as wide as the longest; :func:`unpacked` gives one back."""
    return np.array([os.fsencode(name) for name in names], dtype=np.bytes_)


def unpacked(name: bytes) -> str:
    """A name out of :func:`packed`."""
    return os.fsdecode(name)


@dataclass(frozen=True, kw_only=True, eq=False)
class FileReader:
    """Image files below a folder. names: (n,) of :func:`packed` paths relative to ``root``, with slashes."""

    root: Path
    names: np.ndarray

    @property
    def place(self) -> str:
        return self.root.as_posix()

    def __len__(self) -> int:
        return len(self.names)

    def name_of(self, i: int) -> str:
        return unpacked(self.names[i])

    def open(self, i: int) -> Image.Image:
        return Image.open(self.root / self.name_of(i))

    def sizes(self) -> np.ndarray:
        """Raises ``DistilnasError`` naming a file that is gone."""
        return np.array([_size(os.path.join(self.root, unpacked(name))) for name in self.names], dtype=np.int64)

    def subset(self, indices: np.ndarray) -> "FileReader":
        return replace(self, names=self.names[indices])


def _size(file: str) -> int:
    try:
        return os.stat(file).st_size
    except OSError as error:
        raise DistilnasError(
            f"Image {file} is gone ({error.strerror}). Restore it, or start again without it."
        ) from error
