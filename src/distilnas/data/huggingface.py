"""Data sets of Hugging Face's ``datasets`` package: saved on disk, in Parquet or Arrow files, or on the hub.

The package maps Arrow files into memory, so any image is at hand by its row. timm's reader for it loads by name alone,
not what ``save_to_disk`` wrote, and knows no default for the columns' names.
"""

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from distilnas.data.checking import Splits, checked_splits, numbered, readable, some
from distilnas.data.decoding import MAX_PIXELS
from distilnas.data.imageset import ImageSet
from distilnas.data.names import part_of, tests_first
from distilnas.data.readers import packed
from distilnas.errors import DistilnasError, UsageError, nearest

if TYPE_CHECKING:
    import datasets

_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
_LABEL_NAMES = ("label", "labels")
_ROWS = 10_000


def read_hf(
    path: str,
    *,
    image_key: str | None = None,
    label_key: str | None = None,
    train_split: str = "train",
    test_split: str | None = None,
    max_bad_share: float = 0.05,
    check: str = "auto",
    max_pixels: int = MAX_PIXELS,
) -> Splits:
    """Read a folder of ``save_to_disk``, a folder of Parquet or Arrow files, or a data set of the hub by its name.

    image_key, label_key: the columns; None takes the only one of images, and the only one of class labels or else the
    one called label. test_split: None takes test, val, valid or validation, whichever is there first with labels.
    A column of class labels brings the classes' names and numbers; whole numbers or text are classes in order.

    Raises ``UsageError`` when ``datasets`` is not installed, the data is not there or damaged, columns or splits are
    missing or ambiguous, labels are missing, and as :func:`~distilnas.data.folders.read_image_data` does.
    """
    splits = _loaded(path)
    named = [name for name in splits if part_of(name) == "train"]
    train_split = named[0] if train_split not in splits and train_split == "train" and len(named) == 1 else train_split
    if train_split not in splits:
        raise UsageError(f"{path} has no split {train_split!r}; {nearest(train_split, splits)} Set train_split.")
    if test_split is not None and test_split not in splits:
        raise UsageError(f"{path} has no split {test_split!r}; {nearest(test_split, splits)} Set test_split.")
    train = _image_set(path, train_split, splits[train_split], image_key, label_key)
    if train is None:
        raise UsageError(f"Training images need labels; split {train_split} of {path} has -1 for all. Set train_split.")
    test = None
    for name in (test_split,) if test_split else tests_first(splits):
        if test is None and name in splits and name != train_split:
            test = _image_set(path, name, splits[name], image_key, label_key)
    if test is None and test_split:
        raise UsageError(f"Test images need labels; split {test_split} of {path} has -1 for all. Set test_split.")
    train, test = (images and readable(images, check, max_bad_share, max_pixels) for images in (train, test))
    assert train is not None
    return checked_splits(train, test)


@dataclass(frozen=True, kw_only=True, eq=False)
class HfReader:
    """Rows of a data set whose column ``image`` holds encoded images. rows: (n,) int64."""

    dataset: "datasets.Dataset"
    image: str
    rows: np.ndarray
    place: str

    def __len__(self) -> int:
        return len(self.rows)

    def name_of(self, i: int) -> str:
        return f"row {self.rows[i]}"

    def open(self, i: int) -> Image.Image:
        stored = self.dataset[int(self.rows[i])][self.image]
        return Image.open(stored["path"] if stored["bytes"] is None else io.BytesIO(stored["bytes"]))

    def sizes(self) -> np.ndarray:
        """Raises ``DistilnasError`` when the rows refer to files and one of them is gone."""
        from pyarrow import compute

        pc: Any = compute  # its functions are made at run time, unknown to type checkers
        lengths = []
        table = self.dataset.with_format("arrow")
        for start in range(0, len(self.dataset), _ROWS):
            column = table[start : start + _ROWS][self.image]
            sizes = pc.fill_null(pc.binary_length(pc.struct_field(column, "bytes")), -1).to_pylist()
            paths = pc.struct_field(column, "path")
            lengths += [_size(paths[k].as_py()) if size < 0 else size for k, size in enumerate(sizes)]
        return np.array(lengths, dtype=np.int64)[self.rows]

    def subset(self, indices: np.ndarray) -> "HfReader":
        return replace(self, rows=self.rows[indices])


def _size(path: str | None) -> int:
    try:
        return Path(path or "").stat().st_size
    except OSError as error:
        raise DistilnasError(f"Image {path} is gone ({error.strerror}). Restore it.") from error


def _loaded(path: str) -> Mapping[str, "datasets.Dataset"]:
    """The splits by name; a data set without splits is ``train``."""
    try:
        import datasets
    except ImportError as error:
        raise UsageError(
            "Hugging Face data needs the package datasets, which is not installed: pip install 'distilnas[hf]'."
        ) from error
    folder = Path(path).expanduser()
    if not folder.exists() and (not _HUB_NAME.fullmatch(path) or path.startswith(".")):
        raise UsageError(f"The data set must exist, got {path} (no such path). Check the spelling.")
    try:
        if not folder.exists():
            found = datasets.load_dataset(path)
        elif any((folder / name).is_file() for name in ("dataset_dict.json", "state.json")):
            found = datasets.load_from_disk(str(folder))
        elif any(folder.rglob("*.parquet")) or any(folder.rglob("*.arrow")):
            found = datasets.load_dataset(str(folder))
        else:
            raise UsageError(
                f"A local Hugging Face data set is a folder written by save_to_disk or one of Parquet or Arrow files; "
                f"{path} is none. For a folder of images set source=folder."
            )
    except UsageError:
        raise
    except Exception as error:  # from the network, the hub's client, Arrow or the file system
        kind = "local data set" if folder.exists() else "data set of the hub (there is no such path)"
        raise UsageError(f"The {kind} {path} cannot be loaded: {type(error).__name__}: {error}") from error
    return {"train": found} if isinstance(found, datasets.Dataset) else dict(found)  # pyright: ignore


def _image_set(
    path: str, split: str, dataset: "datasets.Dataset", image_key: str | None, label_key: str | None
) -> ImageSet | None:
    """The images of a split, or None when none of them has a label."""
    import datasets

    image = image_key or _only(path, "image", [key for key, kind in dataset.features.items() if _is_image(kind)])
    label = label_key or _label_column(path, dataset)
    for setting, key in (("image_key", image), ("label_key", label)):
        if key not in dataset.features:
            raise UsageError(f"{path} has no column {key!r}; {nearest(key, dataset.features)} Set {setting}.")
    values = dataset.select_columns(label).with_format("arrow")[:][label].to_pylist()
    kind = dataset.features[label]
    if isinstance(kind, datasets.ClassLabel):
        if set(values) <= {-1, None}:
            return None
        classes, labels = tuple(kind.names), _class_numbers(path, split, values, len(kind.names))
    else:
        classes, labels = numbered(packed(_class_name(path, split, value) for value in values))
    place = f"{path} ({split})"
    try:
        encoded = dataset.select_columns(image).cast_column(image, datasets.Image(decode=False))
    except Exception as error:  # Arrow's errors, for a column that holds no images
        raise UsageError(f"Column {image!r} of {place} holds no encoded images: {error}. Set image_key.") from error
    reader = HfReader(dataset=encoded, image=image, rows=np.arange(len(encoded)), place=place)
    return ImageSet(name=place, classes=classes, labels=labels, images=reader)


def _is_image(kind: Any) -> bool:
    """Whether a column holds images, or bytes that may be images and came without the package's description."""
    import datasets

    encoded = isinstance(kind, dict) and set(kind) == {"bytes", "path"}
    return isinstance(kind, datasets.Image) or encoded or kind in (datasets.Value("binary"),)


def _label_column(path: str, dataset: "datasets.Dataset") -> str:
    import datasets

    of_classes = [key for key, kind in dataset.features.items() if isinstance(kind, datasets.ClassLabel)]
    return _only(path, "label", of_classes or [key for key in _LABEL_NAMES if key in dataset.features])


def _only(path: str, what: str, columns: list[str]) -> str:
    if len(columns) != 1:
        found = f"{len(columns)} columns that may be it: {some(columns)}" if columns else "none that looks like it"
        raise UsageError(f"{path} must have one {what} column, but has {found}. Set {what}_key to the column's name.")
    return columns[0]


def _class_numbers(path: str, split: str, values: list[Any], classes: int) -> np.ndarray:
    without = sum(value is None or not 0 <= value < classes for value in values)
    if without:
        raise UsageError(
            f"Each image needs a label of 0..{classes - 1}; {without} of {len(values)} in split {split} of {path} have "
            "none. Leave these rows out."
        )
    return np.array(values, dtype=np.int64)


def _class_name(path: str, split: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, str)) or value in (-1, ""):
        raise UsageError(
            f"A label is a whole number from 0 or the name of a class; split {split} of {path} has {value!r}. "
            "Leave such rows out, or set label_key to another column."
        )
    return str(value)
