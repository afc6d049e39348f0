"""Folders of images, one subfolder for each class, read into image sets and checked before anything is trained.

Two layouts are understood::

    ROOT/train/CLASS/...  with  ROOT/test/CLASS/...   (or val, valid, validation in place of test)
    ROOT/CLASS/...                                    (the tool splits off a test set itself)

Below a class folder images may lie in further subfolders. Names that begin with a dot are ignored.
"""

import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torchvision.datasets.folder import IMG_EXTENSIONS

from distilnas.data.decoding import in_threads, problem
from distilnas.data.imageset import ImageSet
from distilnas.errors import UsageError

logger = logging.getLogger(__name__)

TEST_NAMES = ("test", "val", "valid", "validation")
_LISTED = 5


@dataclass(frozen=True, kw_only=True)
class Splits:
    """What a data folder holds: training images and, when it has a folder for them, test images of the same classes."""

    train: ImageSet
    test: ImageSet | None


def read_image_data(path: str | os.PathLike[str], *, max_bad_share: float = 0.05) -> Splits:
    """Read a data folder of either layout (see the module) and check that it can be trained on.

    The training folder needs two classes and, in each, two images: one to train on and one to hold out. Test labels are
    numbered as the training classes are; a class without test images is only warned about.

    Raises ``UsageError`` as :func:`read_folder` does and when one of these rules is broken.
    """
    root = _existing_folder(path)
    train_folder, test_folder = _layout(root)
    train = _read(train_folder, _set_name(root, train_folder), max_bad_share)
    _check_training(train)
    if test_folder is None:
        return Splits(train=train, test=None)
    test = _read(test_folder, _set_name(root, test_folder), max_bad_share)
    return Splits(train=train, test=_renumbered(test, train.classes))


def read_folder(path: str | os.PathLike[str], *, max_bad_share: float = 0.05) -> ImageSet:
    """All images of ``path``/CLASS; the classes in alphabetical order, as torchvision's ``ImageFolder`` numbers them.

    Every image is decoded once; files that fail are left out, listed in ``skipped`` and warned about.

    Raises ``UsageError`` when the folder is missing, is a file, has no class folders or no images, or when more than
    the share ``max_bad_share`` of its images cannot be decoded.
    """
    folder = _existing_folder(path)
    return _read(folder, folder.name, max_bad_share)


def _existing_folder(path: str | os.PathLike[str]) -> Path:
    folder = Path(path).expanduser().resolve()
    if not folder.exists():
        raise UsageError(f"The image folder must exist, got {path} (no such path). Check the spelling.")
    if not folder.is_dir():
        raise UsageError(
            f"The images must be given as a folder, got the file {path}. Unpack archives, then name the folder."
        )
    return folder


def _layout(root: Path) -> tuple[Path, Path | None]:
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


def _image_files(folder: Path) -> list[Path]:
    """Image files at any depth below ``folder``, also through links to folders, sorted."""
    found = []
    for parent, subfolders, names in os.walk(folder, followlinks=True):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        found += [Path(parent, name) for name in names if _is_image(name)]
    return sorted(found)


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMG_EXTENSIONS) and not name.startswith(".")


def _read(folder: Path, name: str, max_bad_share: float) -> ImageSet:
    class_folders = _subfolders(folder)
    if not class_folders:
        loose = sum(_is_image(entry.name) for entry in folder.iterdir())
        raise UsageError(
            f"An image folder holds a subfolder of images for each class; {folder} has no subfolders"
            f"{f' but {loose} images directly in it' if loose else ''}. Sort the images into CLASS/ folders."
        )
    found = [(file, label) for label, of_class in enumerate(class_folders) for file in _image_files(of_class)]
    if not found:
        raise UsageError(
            f"The class folders of {folder} hold no images; they have {_some([f.name for f in class_folders])}. "
            f"Files must end in {' '.join(IMG_EXTENSIONS)}."
        )
    problems = list(in_threads(problem, [file for file, _ in found]))
    good = [pair for pair, trouble in zip(found, problems, strict=True) if trouble is None]
    bad = {file.relative_to(folder).as_posix(): why for (file, _), why in zip(found, problems, strict=True) if why}
    _report_bad(folder, bad, total=len(found), max_bad_share=max_bad_share)
    return ImageSet(
        name=name,
        classes=tuple(of_class.name for of_class in class_folders),
        labels=np.array([label for _, label in good], dtype=np.int64),
        images=tuple(file for file, _ in good),
        root=folder,
        skipped=tuple(bad),
    )


def _report_bad(folder: Path, bad: dict[str, str], *, total: int, max_bad_share: float) -> None:
    if not bad:
        return
    found = (
        f"{len(bad)} of {total} images in {folder} cannot be decoded: {_some([f'{n} ({w})' for n, w in bad.items()])}"
    )
    if len(bad) > max_bad_share * total:
        raise UsageError(
            f"At most {max_bad_share:.0%} of the images may be unreadable, but {found}. Repair or remove them."
        )
    logger.warning("%s; they are left out", found)


def _check_training(train: ImageSet) -> None:
    if len(train.classes) < 2:
        raise UsageError(
            f"Training needs at least two classes; {train.root} has only {_some(train.classes)}. "
            "Name the folder that holds the class folders."
        )
    few = [f"{name} ({n})" for name, n in zip(train.classes, train.class_counts, strict=True) if n < 2]
    if few:
        raise UsageError(
            f"Each class needs at least 2 readable training images; too few in {train.root}: {_some(few)}. "
            "Add images to these folders or remove them."
        )


def _renumbered(test: ImageSet, classes: tuple[str, ...]) -> ImageSet:
    """The test set with labels that index the training ``classes``."""
    present = {test.classes[label] for label in np.unique(test.labels)}
    unknown, absent = sorted(present - set(classes)), sorted(set(classes) - present)
    if unknown:
        raise UsageError(
            f"Test classes must be training classes; {test.root} has {len(unknown)} that are not: {_some(unknown)}. "
            f"Training classes: {_some(classes)}. Rename or remove these test folders."
        )
    if absent:
        logger.warning("%s has no images of %d training classes: %s", test.root, len(absent), _some(absent))
    # the class of an empty folder may be unknown: its number is never used
    number = np.array([classes.index(name) if name in present else -1 for name in test.classes])
    return replace(test, classes=classes, labels=number[test.labels])


def _some(names: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
