"""Small image files, and archives of them, that the tests of the sources write."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image


def pixels(number: int, side: int = 6) -> np.ndarray:
    """(side, side, 3) uint8: noise that ``number`` determines."""
    return np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)


def png(number: int, side: int = 6) -> bytes:
    """The same as an encoded PNG, which keeps the pixels exactly."""
    buffer = io.BytesIO()
    Image.fromarray(pixels(number, side)).save(buffer, "png")
    return buffer.getvalue()


def write_tar(path: Path, files: Mapping[str, bytes], mode: str = "w:") -> Path:
    """A tar of the files, in their order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def write_folder(folder: Path, files: Mapping[str, bytes]) -> Path:
    """A folder of the files."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def class_files(classes: Mapping[str, int], prefix: str = "") -> dict[str, bytes]:
    """CLASS/i.png for each class and number of images; every image differs."""
    names = [f"{prefix}{name}/{i}.png" for name, n in classes.items() for i in range(n)]
    return {name: png(number) for number, name in enumerate(names)}
