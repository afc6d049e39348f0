"""What names of folders and files say: parts of a data set, and what systems leave behind.

Splits are known by what people call them. Folders that hold the same folders look like splits under names that are not
known; taking them for classes would train to tell the splits apart, so they are refused.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Literal

from distilnas.errors import UsageError

Part = Literal["train", "test"]

_TRAIN = ("train", "training", "trn")
_TEST = ("test", "testing", "val", "valid", "validation", "tst", "eval", "evaluation", "dev", "development", "holdout")
_SPLIT = re.compile(
    rf"(?P<word>{'|'.join((*_TRAIN, *_TEST))})(?:[ _-]?(?:set|data|images|imgs|split|part|folder|\d+))*", re.IGNORECASE
)
_LEFT_BY_SYSTEMS = {
    "__macosx",
    "thumbs.db",
    "desktop.ini",
    "$recycle.bin",
    "system volume information",
    "lost+found",
    "@eadir",
    "__pycache__",
}


def part_of(name: str) -> Part | None:
    """The split that a folder, file or split of this name is; None for any other name."""
    match = _SPLIT.fullmatch(name)
    if match is None:
        return None
    return "train" if match["word"].lower() in _TRAIN else "test"


def tests_first(names: Iterable[str]) -> list[str]:
    """Those of the names that are test sets: ``test`` before ``val`` and others."""

    def rank(name: str) -> tuple[int, str]:
        match = _SPLIT.fullmatch(name)
        assert match is not None
        return _TEST.index(match["word"].lower()), name

    return sorted((name for name in names if part_of(name) == "test"), key=rank)


def is_hidden(name: str) -> bool:
    """Whether a name is hidden, or one that a system left there: ``__MACOSX``, ``Thumbs.db``, ..."""
    return name.startswith(".") or name.lower() in _LEFT_BY_SYSTEMS


def refuse_unknown_splits(place: str, below: Mapping[str, Collection[str]]) -> None:
    """Raise ``UsageError`` for two folders of ``place`` that hold folders of the same names, two at least.

    below: the folders in each folder that holds no images itself.
    """
    before: dict[frozenset[str], str] = {}
    for name, folders in below.items():
        held = frozenset(folder.lower() for folder in folders)
        other = next((known for known in before if _alike(known, held)), None)
        if other is not None:
            shown, places = ", ".join(sorted(other & held)[:3]), f"{place}/{before[other]} and {place}/{name}"
            raise UsageError(
                f"{places} hold the same folders ({shown}): they look like splits of one data set, not like classes. "
                "Name them train and test; or, if they are classes, set data.layout=classes."
            )
        before.setdefault(held, name)


def _alike(first: frozenset[str], second: frozenset[str]) -> bool:
    both = len(first & second)
    return both >= 2 and 2 * both >= min(len(first), len(second))
