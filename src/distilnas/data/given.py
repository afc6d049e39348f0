"""Images that the user hands over in Python, as a ``Dataset`` or ``DataLoader`` of torch, as an image set.

An item is (image, label), or a mapping with ``image`` or ``img`` and ``label``. An image is one of Pillow's or pixels
(H, W) or (H, W, 3) uint8, which are changed and cached like those of a folder; or a tensor (3, R, R) of floats, which
is taken as the network's input as it is.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence, Sized
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    SubsetRandomSampler,
    default_collate,
)
from torch.utils.data import TensorDataset as Tensors

from distilnas.data.given_readers import GivenReader, PreparedReader, parts_of
from distilnas.data.imageset import ImageSet
from distilnas.data.loaders import global_generators_kept, seed_globals
from distilnas.data.own_transform import told
from distilnas.errors import UsageError

_MOST_IN_MEMORY = 4 * 2**30  # bytes of a stream's images
_LOOKED_AT = 64  # images that tell data sets apart, spread evenly


def given_images(
    data: Any,
    *,
    name: str = "images",
    classes: Sequence[str] | None = None,
    transform: Callable[..., Any] | None = None,
) -> ImageSet:
    """The image set of a ``Dataset`` (anything with length and items) or ``DataLoader``.

    Of a loader its data set is read, and of that what a sampler of a subset chooses; a stream, or a loader with a
    ``collate_fn`` of its own, is read once and kept. Labels come from ``targets``, ``labels``, ``samples`` or
    ``tensors`` where the set has them, else from its items. ``classes``: their names, if the set does not say.
    ``transform``: what makes tensors the network's input; other images are left as they are.

    Raises ``UsageError`` for items that are not as the module says, and for labels that are no numbers of classes.
    """
    items, indices = _items(data)
    if not len(indices):
        raise UsageError(f"{name} must hold at least one image with its label, got none.")
    image, _ = parts_of(items[int(indices[0])])
    labels = _labels(items, indices)
    names = tuple(map(str, classes or _classes(data) or range(int(labels.max()) + 1)))
    if labels.min() < 0 or labels.max() >= len(names):
        raise UsageError(
            f"labels of {name} are numbers of its {len(names)} classes, from 0, got {labels.min()} to {labels.max()}. "
            "Give the names of all classes (classes=[...]), or labels that count from 0."
        )
    reader = _reader(name, items, indices, image, transform)
    return ImageSet(name=name, classes=names, labels=labels, images=reader)


def is_given(data: Any) -> bool:
    """Whether this may be a data set, in place of the path of one."""
    return isinstance(data, Dataset | DataLoader) or (hasattr(data, "__getitem__") and hasattr(data, "__len__"))


def is_prepared(images: ImageSet) -> bool:
    """Whether the images are a network's inputs already."""
    return isinstance(images.images, PreparedReader)


def key_of(images: ImageSet) -> str:
    """First 16 hex digits of a SHA-256: classes, labels, and the pixels of some images."""
    digest = hashlib.sha256(repr(images.classes).encode() + images.labels.astype("<i8").tobytes())
    for i in np.unique(np.linspace(0, len(images) - 1, _LOOKED_AT).astype(int)):
        with global_generators_kept():
            seed_globals(0, 0, 0)
            digest.update(np.asarray(images.raw(int(i))).tobytes())
    return digest.hexdigest()[:16]


def _reader(
    name: str, items: Any, indices: np.ndarray, image: Any, transform: Callable[..., Any] | None
) -> GivenReader:
    if isinstance(image, Image.Image) or (isinstance(image, np.ndarray) and image.dtype == np.uint8):
        return GivenReader(place=name, items=items, indices=indices)
    if not isinstance(image, Tensor):
        raise UsageError(
            f"an image of a data set is one of Pillow's, pixels (H, W, 3) uint8 or a tensor (3, R, R), got "
            f"{told(image)}."
        )
    reader = PreparedReader(place=name, items=items, indices=indices, transform=transform)
    try:
        reader.tensor(0)
    except ValueError as error:
        remedy = "Give a transform that makes it so, or leave the images as Pillow's."
        raise UsageError(f"{name}, {reader.name_of(0)}: {error}. {remedy}") from error
    return reader


def _items(data: Any) -> tuple[Any, np.ndarray]:
    """What has the items, and which of them."""
    if not isinstance(data, DataLoader):
        return (data, np.arange(len(data))) if _has_items(data) else _in_memory(data)
    own_batches = data.collate_fn is not default_collate and data.batch_size is not None
    if own_batches or not _has_items(data.dataset):
        return _in_memory(data)
    chosen = data.sampler.indices if isinstance(data.sampler, SubsetRandomSampler) else None
    size = len(data.dataset)  # type: ignore[arg-type] - it has items
    return data.dataset, np.arange(size) if chosen is None else np.sort(np.asarray(chosen, dtype=np.int64))


def _has_items(data: Any) -> bool:
    return isinstance(data, Sized) and hasattr(data, "__getitem__") and not isinstance(data, IterableDataset)


def _in_memory(data: Any) -> tuple[list[tuple[Any, int]], np.ndarray]:
    """All items of a stream, or of a loader's batches."""
    found: list[tuple[Any, int]] = []
    used = 0
    for image, label in _stream(data):
        used += image.nbytes if isinstance(image, Tensor) else np.asarray(image).nbytes
        if used > _MOST_IN_MEMORY:
            raise UsageError(
                f"a stream of images is kept in memory, and this one takes more than {_MOST_IN_MEMORY // 2**30} GiB: "
                "give a Dataset with length and items, or a folder."
            )
        found.append((image, int(label)))
    return found, np.arange(len(found))


def _stream(data: Any) -> Iterator[tuple[Any, Any]]:
    batched = isinstance(data, DataLoader) and data.batch_size is not None
    for item in data:
        image, label = parts_of(item)
        if batched:
            yield from zip(image, label, strict=True)
        else:
            yield image, label


def _labels(items: Any, indices: np.ndarray) -> np.ndarray:
    """(n,) int64"""
    known = _known_labels(items)
    found = [parts_of(items[int(i)])[1] for i in indices] if known is None else known[indices]
    try:
        values = np.asarray([int(label) for label in found], dtype=np.int64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"a label is the number of a class, got {found[0]!r:.60}.") from error
    return values


def _known_labels(items: Any) -> np.ndarray | None:
    """The labels of all items without reading an image, where the set has them."""
    if isinstance(items, Subset):
        inner = _known_labels(items.dataset)
        return None if inner is None else inner[np.asarray(items.indices)]
    if isinstance(items, ConcatDataset):
        parts = [_known_labels(part) for part in items.datasets]
        return np.concatenate([p for p in parts if p is not None]) if all(p is not None for p in parts) else None
    if isinstance(items, Tensors):
        return np.asarray(items.tensors[1]) if len(items.tensors) > 1 else None
    for name in ("targets", "labels", "samples"):
        value = getattr(items, name, None)
        if isinstance(value, (list, tuple, np.ndarray, Tensor)) and len(value) == len(items):
            return np.asarray([label for _, label in value] if name == "samples" else value)
    return None


def _classes(data: Any) -> Sequence[str] | None:
    """Names of the classes, where the set or one that it is made of says them."""
    while data is not None:
        names = getattr(data, "classes", None)
        if isinstance(names, (list, tuple)) and names:
            return names
        inner = getattr(data, "dataset", None)
        data = inner if inner is not None else next(iter(getattr(data, "datasets", ())), None)
    return None
