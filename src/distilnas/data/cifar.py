"""CIFAR-10 and CIFAR-100 as published: the binary or the Python files, in a folder or in the official archive.

torchvision and timm read only the Python files, and with a plain ``pickle.load``, which runs whatever a file tells it
to; here they go through :mod:`distilnas.data.unpickling`.
"""

import logging
import lzma
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distilnas.data.checking import Splits, checked_splits
from distilnas.data.imageset import ImageSet
from distilnas.data.unpickling import pixels, unpickled
from distilnas.errors import UsageError, nearest

logger = logging.getLogger(__name__)

_SIDE = 32
_PIXELS = 3 * _SIDE * _SIDE
_LARGEST_FILE = 2**28  # the largest official one, CIFAR-100's train, has 155 MB
_OFFICIAL_COUNTS = (50_000, 10_000)


@dataclass(frozen=True, kw_only=True)
class _Form:
    """One published form: its folder, its files, and under which names they hold what."""

    folder: str
    train: tuple[str, ...]
    test: str
    meta: str
    names: str  # key of the class names in a pickled meta file
    key: str  # of the labels in a pickled file
    column: int = 0  # of the label in a binary record
    label_bytes: int = 1

    @property
    def binary(self) -> bool:
        return self.test.endswith(".bin")

    @property
    def files(self) -> tuple[str, ...]:
        return (*self.train, self.test, self.meta)


def _forms(kind: str, label: str) -> list[_Form]:
    if kind == "cifar10":
        batches = [f"data_batch_{i}" for i in range(1, 6)]
        return [
            _Form(
                folder="cifar-10-batches-bin",
                train=tuple(f"{batch}.bin" for batch in batches),
                test="test_batch.bin",
                meta="batches.meta.txt",
                names="",
                key="",
            ),
            _Form(
                folder="cifar-10-batches-py",
                train=tuple(batches),
                test="test_batch",
                meta="batches.meta",
                names="label_names",
                key="labels",
            ),
        ]
    return [
        _Form(
            folder="cifar-100-binary",
            train=("train.bin",),
            test="test.bin",
            meta=f"{label}_label_names.txt",
            names="",
            key="",
            column=("coarse", "fine").index(label),
            label_bytes=2,
        ),
        _Form(
            folder="cifar-100-python",
            train=("train",),
            test="test",
            meta="meta",
            names=f"{label}_label_names",
            key=f"{label}_labels",
        ),
    ]


def read_cifar(path: str | Path, kind: str, *, label: str = "fine") -> Splits:
    """The official training and test images, in memory (180 MB), with the official class names and numbers.

    path: the folder of the files, the folder that holds that folder, or the official ``.tar.gz``.
    kind: ``cifar10`` or ``cifar100``. label: of CIFAR-100, ``fine`` (100 classes) or ``coarse`` (20).

    Raises ``UsageError`` for files that are missing, damaged or refused. Other numbers of images than the official ones
    are only warned about.
    """
    if label not in ("fine", "coarse"):
        raise UsageError(f"CIFAR-100's labels are fine or coarse, got {label!r}; {nearest(label, ('fine', 'coarse'))}")
    where = Path(path).expanduser().resolve()
    form, files = _find(where, _forms(kind, label), kind)
    classes = _class_names(form, files)
    sets = [
        _image_set(f"{kind}/{part}", classes, [_decoded(form, name, files[name]) for name in names])
        for part, names in (("train", form.train), ("test", (form.test,)))
    ]
    counts = tuple(len(images) for images in sets)
    if counts != _OFFICIAL_COUNTS:
        logger.warning(
            "%s: %s has %d training and %d test images, not %d and %d", where, kind, *counts, *_OFFICIAL_COUNTS
        )
    return checked_splits(*sets)


def _find(path: Path, forms: list[_Form], kind: str) -> tuple[_Form, Mapping[str, bytes]]:
    """The first form of which any image file is there, and the content of its files."""
    if not path.exists():
        raise UsageError(f"The {kind} files must exist, got {path} (no such path). Check the spelling.")
    wanted = {name for form in forms for name in form.files}
    files = _from_archive(path, wanted) if path.is_file() else _from_folder(path, forms)
    present = [form for form in forms if form.test in files or set(form.train) & set(files)]
    if not present:
        raise UsageError(
            f"{path} holds no files of {kind}. Give the official archive or the folder "
            f"{' or '.join(form.folder for form in forms)} that it unpacks to."
        )
    form = present[0]
    missing = [name for name in form.files if name not in files]
    if missing:
        raise UsageError(f"{kind} needs {', '.join(form.files)}; {path} lacks {', '.join(missing)}. Unpack it again.")
    return form, files


def _from_folder(path: Path, forms: list[_Form]) -> dict[str, bytes]:
    for form in forms:
        for folder in (path, path / form.folder):
            if (folder / form.test).is_file() or any((folder / name).is_file() for name in form.train):
                return {name: (folder / name).read_bytes() for name in form.files if (folder / name).is_file()}
    return {}


def _from_archive(path: Path, wanted: set[str]) -> dict[str, bytes]:
    """The wanted files of a tar archive, compressed or not, by their last name; nothing is written to disk."""
    files = {}
    try:
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                name = member.name.rpartition("/")[2]
                stream = archive.extractfile(member) if name in wanted and member.isreg() else None
                if stream is None:
                    continue
                if member.size > _LARGEST_FILE:
                    raise UsageError(f"{name} in {path} has {member.size} bytes; no file of CIFAR has so many.")
                files[name] = stream.read()
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise UsageError(
            f"{path} must be the official archive or a folder, but cannot be read: {error}. Download it again."
        ) from error
    return files


def _class_names(form: _Form, files: Mapping[str, bytes]) -> tuple[str, ...]:
    if form.binary:
        names = [line.strip() for line in files[form.meta].decode("utf-8", "replace").splitlines() if line.strip()]
    else:
        found = _list(unpickled(files[form.meta], form.meta), form.names, form.meta)
        names = [name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in found]
    if len(names) < 2 or len(set(names)) < len(names):
        raise UsageError(f"{form.meta} must list the names of the classes, each once, got {names}. Unpack it again.")
    return tuple(names)


def _decoded(form: _Form, name: str, data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Labels (n,) and pixels (n, 3072), plane by plane."""
    if form.binary:
        record = form.label_bytes + _PIXELS
        if not data or len(data) % record:
            raise UsageError(
                f"{name} must consist of records of {record} bytes, but has {len(data)} bytes. It is damaged or of "
                "another data set; get it again."
            )
        records = np.frombuffer(data, dtype=np.uint8).reshape(-1, record)
        return records[:, form.column].astype(np.int64), records[:, form.label_bytes :]
    batch = unpickled(data, name)
    planes = pixels(_entry(batch, "data", name), name)
    labels = _list(batch, form.key, name)
    if not all(isinstance(label, int) and 0 <= label < 256 for label in labels) or planes.shape != (
        len(labels),
        _PIXELS,
    ):
        raise UsageError(
            f"{name} must hold {_PIXELS} pixel values and a label, a whole number, for each image, but has "
            f"{len(labels)} labels such as {labels[:3]} and pixels of shape {planes.shape}. Get it again."
        )
    return np.array(labels, dtype=np.int64), planes


def _entry(found: Any, key: str, name: str) -> Any:
    """The value of a pickled dict, whose keys Python 2 wrote as bytes."""
    value = found.get(key.encode(), found.get(key)) if isinstance(found, dict) else None
    if value is None:
        raise UsageError(f"{name} must be a dict with {key}, but is not. It is of another data set; get it again.")
    return value


def _list(found: Any, key: str, name: str) -> list[Any]:
    value = _entry(found, key, name)
    if not isinstance(value, list):
        raise UsageError(f"{key} in {name} must be a list, but is a {type(value).__name__}. Get the file again.")
    return value


def _image_set(name: str, classes: tuple[str, ...], batches: list[tuple[np.ndarray, np.ndarray]]) -> ImageSet:
    labels = np.concatenate([labels for labels, _ in batches])
    planes = np.concatenate([planes for _, planes in batches])
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(classes):
        raise UsageError(
            f"Labels of {name} must lie in 0..{len(classes) - 1}, found {labels.min()}..{labels.max()}. Its files are "
            "damaged or of another data set; get them again."
        )
    images = planes.reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1)
    return ImageSet(name=name, classes=classes, labels=labels, images=np.ascontiguousarray(images))
