"""WebDataset shards: tar files in which ``key.jpg`` is an image and ``key.cls`` or ``key.json`` its label."""

import json
import logging
import re
from glob import glob, has_magic
from pathlib import Path
from typing import IO

from torchvision.datasets.folder import IMG_EXTENSIONS

from distilnas.data.archives import Member, TarIndex, read_tars, tar_members
from distilnas.data.checking import Splits, checked_splits, numbered, readable, some
from distilnas.data.decoding import MAX_PIXELS
from distilnas.data.folders import split_folders
from distilnas.data.imageset import ImageSet
from distilnas.data.names import part_of
from distilnas.errors import UsageError

logger = logging.getLogger(__name__)

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_LIST = re.compile(r"\{([^{}]*,[^{}]*)\}")
_LARGEST_LABEL = 2**20
_MOST_SHARDS = 100_000


def read_wds(
    path: str | Path,
    *,
    test_path: str | Path | None = None,
    label_key: str | None = None,
    max_bad_share: float = 0.05,
    check: str = "auto",
    max_pixels: int = MAX_PIXELS,
) -> Splits:
    """Read the shards that ``path`` names: a folder, or a pattern such as ``train-{000..146}.tar`` or ``train-*.tar``.

    A folder may hold folders train and test (or val, valid, validation), or shards with these words in their names.
    test_path: a folder or pattern of the test shards, when they lie elsewhere.
    label_key: the entry of ``key.json`` that holds the label; None takes ``key.cls``, or ``label`` of ``key.json``.

    Labels are whole numbers, or names of classes; classes are what labels occur, in order. Images keep the order of the
    shards. Raises ``UsageError`` for shards that are missing or cannot be read in place, for images without a label,
    and as :func:`~distilnas.data.folders.read_image_data` does.
    """
    train_shards, test_shards = _shards(str(path))
    if test_path is not None:
        if test_shards:
            raise UsageError(f"Test shards are given twice: in {path} and as {test_path}. Leave out test_path.")
        test_shards = _shards(str(test_path))[0]
    train, test = (
        readable(_read(name, shards, label_key), check, max_bad_share, max_pixels) if shards else None
        for name, shards in (("train", train_shards), ("test", test_shards))
    )
    assert train is not None
    return checked_splits(train, test)


def _shards(pattern: str) -> tuple[list[Path], list[Path]]:
    """Training and test shards that a folder or pattern names."""
    if "://" in pattern or pattern.startswith("pipe:"):
        raise UsageError(
            f"Shards must lie on disk, as images are read in any order; got {pattern}. Download them first."
        )
    folder = Path(pattern).expanduser().resolve()
    if not folder.is_dir():
        return _expanded(pattern), []
    train_folder, test_folder = split_folders(folder)
    if train_folder != folder:
        return _in_folder(train_folder), _in_folder(test_folder) if test_folder else []
    return _by_name(_in_folder(folder))


def _in_folder(folder: Path) -> list[Path]:
    shards = sorted(folder.glob("*.tar"))
    if not shards:
        others = some(sorted(file.name for file in folder.iterdir()))
        raise UsageError(
            f"A folder of shards holds uncompressed .tar files; {folder} has none, but {others or 'nothing'}. "
            "Decompress the shards, or name the folder that holds them."
        )
    return shards


def _by_name(shards: list[Path]) -> tuple[list[Path], list[Path]]:
    """Shards of training and of test where words of the names tell them apart, as in ``imagenet1k-train-0001.tar``."""
    words = {shard: set(re.split(r"[^a-z]+", shard.stem.lower())) for shard in shards}
    parts = {shard: {part_of(word) for word in words[shard]} for shard in shards}
    train = [shard for shard in shards if "train" in parts[shard]]
    test = [shard for shard in shards if "test" in parts[shard] and shard not in train]
    return (train, test) if train and test else (shards, [])


def _expanded(pattern: str) -> list[Path]:
    """The files that a pattern with braces and glob's wildcards names, in the order of the braces, each once."""
    shards = []
    for one in _without_braces(str(Path(pattern).expanduser())):
        files = sorted(glob(one)) if has_magic(one) else [one]
        if not files:
            raise UsageError(f"A pattern of shards must match files, but none matches {one}. Check the spelling.")
        shards += [Path(file).resolve() for file in files]
    shards = list(dict.fromkeys(shards))
    missing = [str(shard) for shard in shards if not shard.is_file()]
    if missing:
        raise UsageError(
            f"All shards that {pattern} names must exist; {len(missing)} of {len(shards)} do not: {some(missing)}. "
            "Download them, or correct the pattern."
        )
    return shards


def _without_braces(pattern: str) -> list[str]:
    if match := _RANGE.search(pattern):
        first, last = match.groups()
        if int(last) - int(first) >= _MOST_SHARDS:
            raise UsageError(f"A pattern names at most {_MOST_SHARDS:,} shards; {pattern} names more. Correct it.")
        choices = [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
    elif match := _LIST.search(pattern):
        choices = match.group(1).split(",")
    else:
        return [pattern]
    head, tail = pattern[: match.start()], pattern[match.end() :]
    return [result for choice in choices for result in _without_braces(head + choice + tail)]


def _read(name: str, shards: list[Path], label_key: str | None) -> ImageSet:
    kind = f"webdataset {label_key}"
    reader, found = read_tars(shards, kind, lambda shard: _index(shard, label_key))
    classes, labels = numbered(found)
    return ImageSet(name=f"{name} shards", classes=classes, labels=labels, images=reader)


def _index(shard: Path, label_key: str | None) -> TarIndex:
    """Images labelled with the text of their label."""
    images: dict[str, Member] = {}
    sources: dict[str, Member] = {}
    wanted = (".json",) if label_key else (".cls", ".json")
    for member in tar_members(shard):
        folder, slash, base = member.name.rpartition("/")
        stem, dot, ending = base.partition(".")
        key, ending = folder + slash + stem, (dot + ending).lower()
        if ending in IMG_EXTENSIONS:
            if key in images:
                raise UsageError(f"A sample has one image; in {shard} {key} has {images[key].name} and {member.name}.")
            images[key] = member
        elif ending in wanted and not (key in sources and ending == ".json"):
            sources[key] = member
    without = [image.name for key, image in images.items() if key not in sources]
    if without or not images:
        raise UsageError(
            f"A shard holds images, each with a label in {' or '.join('KEY' + ending for ending in wanted)}; {shard} "
            f"has {len(images)} images, without a label: {some(without) or 'none'}. Is it a WebDataset shard?"
        )
    with shard.open("rb") as file:
        labels = [_label(file, shard, sources[key], label_key or "label") for key in images]
    return TarIndex.of(list(images.values()), labels)


def _label(file: IO[bytes], shard: Path, source: Member, key: str) -> str:
    if source.length > _LARGEST_LABEL:
        raise UsageError(f"{shard}/{source.name} is no label: it has {source.length} bytes, at most {_LARGEST_LABEL}.")
    file.seek(source.offset)
    content = file.read(source.length)
    try:
        label = content.decode().strip() if source.name.lower().endswith(".cls") else _entry(content, key)
    except ValueError as error:
        raise UsageError(f"The label {shard}/{source.name} cannot be read: {error}. Repair the shard.") from error
    if not label or label.startswith("-"):
        raise UsageError(
            f"A label is a whole number from 0 or the name of a class; {shard}/{source.name} has {label!r}. "
            "Leave unlabelled images out."
        )
    return label


def _entry(content: bytes, key: str) -> str:
    found = json.loads(content)
    value = found.get(key) if isinstance(found, dict) else None
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        keys = some(list(found)) if isinstance(found, dict) else f"no entries but {content[:20]!r}"
        raise ValueError(f"it needs {key} (a whole number or text; set label_key for another entry), and has {keys}")
    return str(value)
