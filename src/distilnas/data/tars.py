"""A tar file of class folders: what an image folder would be if it were unpacked."""

import logging
from pathlib import Path, PurePosixPath

import numpy as np

from distilnas.data.archives import TarIndex, TarReader, read_tars, tar_members
from distilnas.data.checking import Splits, checked_splits, readable
from distilnas.data.decoding import MAX_PIXELS
from distilnas.data.folders import is_image
from distilnas.data.imageset import ImageSet
from distilnas.data.names import is_hidden, part_of, refuse_unknown_splits, tests_first
from distilnas.data.readers import packed, unpacked
from distilnas.errors import UsageError

logger = logging.getLogger(__name__)

Folder = tuple[str, ...]


def read_tar(
    path: str | Path,
    *,
    test_path: str | Path | None = None,
    max_bad_share: float = 0.05,
    check: str = "auto",
    max_pixels: int = MAX_PIXELS,
    layout: str = "auto",
) -> Splits:
    """Read an uncompressed tar of CLASS/... or of train/CLASS/... and test/CLASS/... (or val, valid, validation).

    test_path: another tar, of CLASS/..., with the test images. Folders around all images do not count. Tars inside the
    tar are folders named after them, as in ImageNet's official training archive. Classes are numbered in alphabetical
    order and images sorted by class and name, as those of the unpacked folder are.

    Raises ``UsageError`` for a tar that cannot be read in place (see :func:`~distilnas.data.archives.tar_members`) or
    has no images in class folders, and as :func:`~distilnas.data.folders.read_image_data` does.
    """
    found = _read(Path(path).expanduser().resolve(), layout)
    if test_path is not None:
        if "test" in found:
            raise UsageError(f"Test images are given twice: inside {path} and as {test_path}. Leave out test_path.")
        found["test"] = _read(Path(test_path).expanduser().resolve(), "classes")["train"]
    sets = {part: readable(images, check, max_bad_share, max_pixels) for part, images in found.items()}
    return checked_splits(sets["train"], sets.get("test"))


def _read(tar: Path, layout: str) -> dict[str, ImageSet]:
    """The image sets of a tar: ``train`` and, when it has one, ``test``."""
    reader, labels = read_tars([tar], "class folders", _index)
    unique, which = np.unique(labels, return_inverse=True)
    folders = _without_common([PurePosixPath(unpacked(name)).parts for name in unique])
    tops = sorted({folder[0] for folder in folders if folder})
    trains, tests = [top for top in tops if part_of(top) == "train"], tests_first(top for top in tops if part_of(top))
    if layout == "classes" or len(trains) != 1 or not tests:
        if layout != "classes":
            refuse_unknown_splits(str(tar), _folders_alone(folders))
        return {"train": _image_set(tar, reader, folders, which)}
    places = {"train": trains[0], "test": tests[0]}
    return {
        part: _image_set(tar, reader, [folder[1:] if folder[:1] == (place,) else () for folder in folders], which)
        for part, place in places.items()
    }


def _folders_alone(folders: list[Folder]) -> dict[str, set[str]]:
    """The folders in each top folder that holds no images itself."""
    direct = {folder[0] for folder in folders if len(folder) == 1}
    below: dict[str, set[str]] = {}
    for folder in folders:
        if len(folder) > 1 and folder[0] not in direct:
            below.setdefault(folder[0], set()).add(folder[1])
    return below


def _index(tar: Path) -> TarIndex:
    """Images labelled with the folder that they lie in."""
    paths = [(PurePosixPath(member.name), member) for member in tar_members(tar)]
    images = [
        (path.parent.as_posix(), member)
        for path, member in paths
        if is_image(path.name) and not any(is_hidden(part) for part in path.parent.parts)
    ]
    return TarIndex.of([member for _, member in images], [folder for folder, _ in images])


def _without_common(folders: list[Folder]) -> list[Folder]:
    """The folders as seen from the deepest folder that has all of them below it."""
    while folders and all(len(folder) > 1 and folder[0] == folders[0][0] for folder in folders):
        folders = [folder[1:] for folder in folders]
    return folders


def _image_set(tar: Path, reader: TarReader, folders: list[Folder], which: np.ndarray) -> ImageSet:
    """The images i in ``folders[which[i]]``, of the class that the path begins with; those in ``()`` are left out."""
    in_class = np.array([bool(folder) for folder in folders], dtype=bool)
    rows = np.flatnonzero(in_class[which]) if len(which) else which
    if not len(rows):
        raise UsageError(
            f"A tar of images holds CLASS/image files; {tar} has {len(reader)} images, none of them in a class folder. "
            "Pack the folder that holds the class folders."
        )
    names, labels = np.unique(
        packed(folder[0] if folder else "" for folder in folders)[which[rows]], return_inverse=True
    )
    order = np.lexsort((reader.names[rows], labels))
    return ImageSet(
        name=tar.stem,
        classes=tuple(unpacked(name) for name in names),
        labels=labels[order].astype(np.int64),
        images=reader.subset(rows[order]),
    )
