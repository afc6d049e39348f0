"""Folders of images, one subfolder for each class, read into image sets and checked before anything is trained.

Two layouts are understood::

    ROOT/train/CLASS/...  with  ROOT/test/CLASS/...   (or val, valid, validation in place of test)
    ROOT/CLASS/...                                    (the tool splits off a test set itself)

Below a class folder images may lie in further subfolders. Names that begin with a dot are ignored.
"""

import logging
import os
from pathlib import Path

import numpy as np
from torchvision.datasets.folder import IMG_EXTENSIONS

from distilnas.data.checking import Splits, checked_splits, readable, some
from distilnas.data.imageset import ImageSet
from distilnas.data.readers import FileReader, packed
from distilnas.errors import UsageError

logger = logging.getLogger(__name__)

TEST_NAMES = ("test", "val", "valid", "validation")


def read_image_data(path: str | os.PathLike[str], *, max_bad_share: float = 0.05, check: str = "auto") -> Splits:
    """Read a data folder of either layout (see the module) and check that it can be trained on.

    Raises ``UsageError`` as :func:`read_folder` does and when the classes break a rule of
    :func:`~distilnas.data.checking.checked_splits`.
    """
    root = _existing_folder(path)
    train_folder, test_folder = split_folders(root)
    train = _read(train_folder, _set_name(root, train_folder), max_bad_share, check)
    test = None if test_folder is None else _read(test_folder, _set_name(root, test_folder), max_bad_share, check)
    return checked_splits(train, test)


def read_folder(path: str | os.PathLike[str], *, max_bad_share: float = 0.05, check: str = "auto") -> ImageSet:
    """All images of ``path``/CLASS; the classes in alphabetical order, as torchvision's ``ImageFolder`` numbers them.

    ``check`` says which images are decoded to find damaged ones, see :func:`~distilnas.data.checking.readable`; those
    found are left out, listed in ``skipped`` and warned about.

    Raises ``UsageError`` when the folder is missing, is a file, has no class folders or no images, or when more than
    the share ``max_bad_share`` of its images cannot be decoded.
    """
    folder = _existing_folder(path)
    return _read(folder, folder.name, max_bad_share, check)


def _existing_folder(path: str | os.PathLike[str]) -> Path:
    folder = Path(path).expanduser().resolve()
    if not folder.exists():
        raise UsageError(f"The image folder must exist, got {path} (no such path). Check the spelling.")
    if not folder.is_dir():
        raise UsageError(
            f"The images must be given as a folder, got the file {path}. Unpack archives, then name the folder."
        )
    return folder


def split_folders(root: Path) -> tuple[Path, Path | None]:
    """The folders of training and of test images; ``root`` itself and None when the classes lie directly in it."""
    folders = {folder.name.lower(): folder for folder in _subfolders(root)}
    tests = [folders[name] for name in TEST_NAMES if name in folders]
    only_splits = set(folders) <= {"train", *TEST_NAMES}
    if folders and only_splits and "train" not in folders:
        raise UsageError(
            f"A folder with {' and '.join(folder.name for folder in tests)} needs train beside it; {root} has none. "
            "Name the training folder train, or give one folder with a subfolder for each class."
        )
    if "train" not in folders or not (tests or only_splits):
        return root, None
    if len(tests) > 1:
        unused = ", ".join(folder.name for folder in tests[1:])
        logger.warning("%s: %s is the test set; not used: %s", root, tests[0].name, unused)
    return folders["train"], tests[0] if tests else None


def _set_name(root: Path, folder: Path) -> str:
    return root.name if folder == root else f"{root.name}/{folder.name}"


def _subfolders(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _image_files(root: Path, class_name: str) -> list[str]:
    """Image files at any depth below a class folder, also through links to folders: sorted paths relative to root."""
    found = []
    top = os.path.join(root, "")
    for parent, subfolders, names in os.walk(top + class_name, followlinks=True):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        below = parent.removeprefix(top).replace(os.sep, "/")
        found += [f"{below}/{name}" for name in names if is_image(name)]
    return sorted(found, key=lambda name: name.split("/"))


def is_image(name: str) -> bool:
    """Whether a file name ends as images do and is not hidden."""
    return name.lower().endswith(IMG_EXTENSIONS) and not name.startswith(".")


def _read(folder: Path, name: str, max_bad_share: float, check: str) -> ImageSet:
    classes = [of_class.name for of_class in _subfolders(folder)]
    if not classes:
        loose = sum(is_image(entry.name) for entry in folder.iterdir())
        raise UsageError(
            f"An image folder holds a subfolder of images for each class; {folder} has no subfolders"
            f"{f' but {loose} images directly in it' if loose else ''}. Sort the images into CLASS/ folders."
        )
    of_class = [_image_files(folder, class_name) for class_name in classes]
    counts = [len(files) for files in of_class]
    if not sum(counts):
        raise UsageError(
            f"The class folders of {folder} hold no images; they have {some(classes)}. "
            f"Files must end in {' '.join(IMG_EXTENSIONS)}."
        )
    images = ImageSet(
        name=name,
        classes=tuple(classes),
        labels=np.repeat(np.arange(len(classes), dtype=np.int64), counts),
        images=FileReader(root=folder, names=packed(file for files in of_class for file in files)),
    )
    return readable(images, check, max_bad_share)
