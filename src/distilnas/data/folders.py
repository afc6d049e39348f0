"""Folders of images, one subfolder for each class, read into image sets and checked before anything is trained.

Two layouts are understood::

    ROOT/train/CLASS/...  with  ROOT/test/CLASS/...   (or other names of splits, see ``names``)
    ROOT/CLASS/...                                    (the tool splits off a test set itself)

Below a class folder images may lie in further subfolders. Names that begin with a dot are ignored, and those that
systems leave behind; links to folders that are read already are left out with a warning.
"""

import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from torchvision.datasets.folder import IMG_EXTENSIONS

from distilnas.data.checking import Splits, checked_splits, readable, some
from distilnas.data.decoding import MAX_PIXELS
from distilnas.data.imageset import ImageSet
from distilnas.data.names import is_hidden, part_of, refuse_unknown_splits, tests_first
from distilnas.data.readers import FileReader, packed
from distilnas.errors import UsageError

logger = logging.getLogger(__name__)


def read_image_data(
    path: str | os.PathLike[str],
    *,
    max_bad_share: float = 0.05,
    check: str = "auto",
    max_pixels: int = MAX_PIXELS,
    layout: str = "auto",
) -> Splits:
    """Read a data folder of either layout (see the module) and check that it can be trained on.

    Raises ``UsageError`` as :func:`read_folder` does and when the classes break a rule of
    :func:`~distilnas.data.checking.checked_splits`.
    """
    root = _existing_folder(path)
    train_folder, test_folder = split_folders(root, layout)
    checks = (max_bad_share, check, max_pixels)
    train = _read(train_folder, _set_name(root, train_folder), *checks)
    test = None if test_folder is None else _read(test_folder, _set_name(root, test_folder), *checks)
    return checked_splits(train, test)


def read_folder(
    path: str | os.PathLike[str], *, max_bad_share: float = 0.05, check: str = "auto", max_pixels: int = MAX_PIXELS
) -> ImageSet:
    """All images of ``path``/CLASS; the classes in alphabetical order, as torchvision's ``ImageFolder`` numbers them.

    ``check`` says which images are decoded to find damaged ones, see :func:`~distilnas.data.checking.readable`; those
    found are left out, listed in ``skipped`` and warned about.

    Raises ``UsageError`` when the folder is missing, is a file, has no class folders or no images, or when more than
    the share ``max_bad_share`` of its images cannot be decoded.
    """
    folder = _existing_folder(path)
    return _read(folder, folder.name, max_bad_share, check, max_pixels)


def _existing_folder(path: str | os.PathLike[str]) -> Path:
    folder = Path(path).expanduser().resolve()
    if not folder.exists():
        raise UsageError(f"The image folder must exist, got {path} (no such path). Check the spelling.")
    if not folder.is_dir():
        raise UsageError(
            f"The images must be given as a folder, got the file {path}. Unpack archives, then name the folder."
        )
    return folder


def split_folders(root: Path, layout: str = "auto") -> tuple[Path, Path | None]:
    """The folders of training and of test images; ``root`` itself and None when the classes lie directly in it.

    Raises ``UsageError`` for splits whose names leave open what they are for; ``layout`` ``classes``: there are none.
    """
    folders = {folder.name: folder for folder in _subfolders(root)}
    trains = [name for name in folders if part_of(name) == "train"]
    tests = tests_first(name for name in folders if part_of(name))
    only_splits = len(trains) + len(tests) == len(folders)
    if layout == "classes" or not folders:
        return root, None
    if only_splits and not trains:
        raise UsageError(
            f"A folder with {' and '.join(tests)} needs train beside it; {root} has none. "
            "Name the training folder train, or give one folder with a subfolder for each class."
        )
    if not trains or not (tests or only_splits):
        refuse_unknown_splits(str(root), {name: _folders_alone(folder) for name, folder in folders.items()})
        return root, None
    if len(trains) > 1:
        raise UsageError(
            f"{root} has several training folders, {' and '.join(trains)}: give one of them, or join them."
        )
    if len(tests) > 1:
        logger.warning("%s: %s is the test set; not used: %s", root, tests[0], ", ".join(tests[1:]))
    return folders[trains[0]], folders[tests[0]] if tests else None


def _folders_alone(folder: Path) -> list[str]:
    """Names of the folders in ``folder``; none where images lie beside them, the first of which ends the search."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_image(entry.name):
                return []
            if not is_hidden(entry.name) and _is_folder(entry):
                found.append(entry.name)
    return found


def has_classes(path: str | os.PathLike[str]) -> bool:
    """Whether images lie in folders of classes, and not, without any, in the folder itself or its train/."""
    folder, _ = split_folders(_existing_folder(path))
    return bool(_subfolders(folder)) or not any(is_image(entry.name) for entry in folder.iterdir())


def read_unlabelled(
    path: str | os.PathLike[str], *, max_bad_share: float = 0.05, check: str = "auto", max_pixels: int = MAX_PIXELS
) -> Splits:
    """All images below a folder at any depth, or below its train/ and test/; one class without a name.

    Raises ``UsageError`` as :func:`read_folder` does.
    """
    root = _existing_folder(path)
    train, test = split_folders(root)
    found = []
    for folder in (train, test):
        if folder is not None:
            files = [name.removeprefix("./") for name in _image_files(folder, ".", {os.path.realpath(folder)})]
            if not files:
                raise UsageError(f"{folder} holds no images. Files must end in {' '.join(IMG_EXTENSIONS)}.")
            images = _of_files(folder, _set_name(root, folder), ("",), np.zeros(len(files), dtype=np.int64), files)
            found.append(readable(images, check, max_bad_share, max_pixels))
    return Splits(train=found[0], test=found[1] if len(found) > 1 else None)


def _of_files(folder: Path, name: str, classes: Sequence[str], labels: np.ndarray, files: Iterable[str]) -> ImageSet:
    return ImageSet(
        name=name, classes=tuple(classes), labels=labels, images=FileReader(root=folder, names=packed(files))
    )


def _set_name(root: Path, folder: Path) -> str:
    return root.name if folder == root else f"{root.name}/{folder.name}"


def _subfolders(folder: Path) -> list[Path]:
    """The folders in ``folder``, sorted; links to it, to a folder around it or to one of the others are left out."""
    entries = sorted(entry for entry in folder.iterdir() if _is_folder(entry) and not is_hidden(entry.name))
    seen = {os.path.realpath(place) for place in (folder, *folder.resolve().parents)}
    found = []
    for entry in sorted(entries, key=Path.is_symlink):  # a link to a folder gives way to the folder itself
        if (real := os.path.realpath(entry)) in seen:
            logger.warning("%s is left out: it is a link to %s, which is read already", entry, real)
        else:
            found.append(entry)
        seen.add(real)
    return sorted(found)


def _image_files(root: Path, class_name: str, seen: set[str]) -> list[str]:
    """Image files at any depth below a class folder, also through links to folders: sorted paths relative to root.

    ``seen``: real paths of folders that are read already; links to them are left out, and those read here are added.
    """
    found: list[str] = []
    places = [class_name]
    while places:
        place = places.pop()
        for entry in _entries(os.path.join(root, place)):
            below = f"{place}/{entry.name}"
            if is_image(entry.name) and not _is_folder(entry):
                found.append(below)
            elif not is_hidden(entry.name) and _is_folder(entry) and _is_new(entry, seen):
                places.append(below)
    return sorted(found, key=lambda name: name.split("/"))


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise UsageError(f"The folder {folder} cannot be listed ({error.strerror}). Make it readable.") from error


def _is_folder(entry: os.DirEntry[str] | Path) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_new(entry: os.DirEntry[str], seen: set[str]) -> bool:
    """Whether a folder is not read yet; only links lead to one that is."""
    if not entry.is_symlink():
        return True
    real = os.path.realpath(entry.path)
    if real in seen or any(place.startswith(f"{real}{os.sep}") for place in seen):
        logger.warning("%s is left out: it is a link to %s, which is read already", entry.path, real)
        return False
    seen.add(real)
    return True


def is_image(name: str) -> bool:
    """Whether a file name ends as images do and is not hidden."""
    return name.lower().endswith(IMG_EXTENSIONS) and not is_hidden(name)


def _read(folder: Path, name: str, max_bad_share: float, check: str, max_pixels: int) -> ImageSet:
    classes = [of_class.name for of_class in _subfolders(folder)]
    if not classes:
        loose = sum(is_image(entry.name) for entry in folder.iterdir())
        raise UsageError(
            f"An image folder holds a subfolder of images for each class; {folder} has no subfolders"
            f"{f' but {loose} images directly in it' if loose else ''}. Sort the images into CLASS/ folders."
        )
    seen = {os.path.realpath(folder), *(os.path.realpath(folder / name) for name in classes)}
    of_class = [_image_files(folder, class_name, seen) for class_name in classes]
    counts = [len(files) for files in of_class]
    if not sum(counts):
        raise UsageError(
            f"The class folders of {folder} hold no images; they have {some(classes)}. "
            f"Files must end in {' '.join(IMG_EXTENSIONS)}."
        )
    labels = np.repeat(np.arange(len(classes), dtype=np.int64), counts)
    images = _of_files(folder, name, classes, labels, (file for files in of_class for file in files))
    return readable(images, check, max_bad_share, max_pixels)
