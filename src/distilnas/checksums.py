"""Nothing is believed that changed since it was written: the SHA-256 of every file of a run, kept beside it.

``step.json`` has the sums of its step's files (``sha256``) and one of its own content (``record_sha256``);
``files.json`` has those of the files on top of a run. Records of older versions have no sums: what belongs to them is
read, and said to be unchecked. No torch.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from distilnas.errors import UsageError
from distilnas.files import parse_json, write_json

RECORD, TOP = "step.json", "files.json"
_SUMS, _OWN = "sha256", "record_sha256"
_FIELDS = {"schema", "name", "key", "inputs", "result", "seconds", "files"}
_SUMMARY = "summary.json"
_PAGE = ".md"  # for people, who may edit it
_STUDENT, _WEIGHTS, _WEIGHTS_SUM = "student.json", "model.safetensors", "weights_sha256"

State = Literal["ok", "changed", "missing", "unchecked"]


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A file of a run: its ``path`` below the run, and what to do about it where it is not ``ok``."""

    path: str
    state: State
    remedy: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


def file_sum(path: Path) -> str:
    """SHA-256 (hex) of a file's content."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}.") from error


def sealed(record: Mapping[str, Any], folder: Path, files: Iterable[str]) -> dict[str, Any]:
    """The JSON ``record`` of a folder with the sums of its ``files`` and of itself."""
    content = {key: value for key, value in record.items() if key != _OWN}
    plain = json.loads(json.dumps(content, allow_nan=False)) | {
        _SUMS: {name: file_sum(folder / name) for name in files}
    }
    return plain | {_OWN: _own_sum(plain)}


def read_record(folder: Path) -> dict[str, Any]:
    """The record of a step; empty where there is none, or one that cannot be read: its step is then done again.

    Raises ``UsageError`` for a record that changed since it was written.
    """
    record = _loaded(folder / RECORD)
    if _state_of_record(record) == "changed":
        raise UsageError(changed(folder, RECORD))
    return record if record.keys() >= _FIELDS else {}


def check_files(folder: Path, record: Mapping[str, Any]) -> None:
    """Raise ``UsageError`` for the first file of a step whose content is not what its ``record`` says."""
    for name, wanted in record.get(_SUMS, {}).items():
        if file_sum(folder / name) != wanted:
            raise UsageError(changed(folder, name))


def changed(folder: Path, name: str) -> str:
    """What to say of a step's file that changed, and what to do."""
    return (
        f"{folder / name} changed since its step was finished (its SHA-256 is another): bring back the file, or delete "
        f"the step {folder.name} ({folder}) and run the same command again."
    )


def require_intact(folder: Path) -> None:
    """Raise ``UsageError`` for the first file of a run's steps, or its summary, that changed since it was written.

    Pages are left aside: nothing is read from them.
    """
    for found in check_folder(folder):
        read = ("/" in found.path or found.path == _SUMMARY) and not found.path.endswith(_PAGE)
        if found.state == "changed" and read:
            raise UsageError(
                f"{folder / found.path} changed since it was written (its SHA-256 is another): {found.remedy}."
            )


def note(folder: Path, *names: str) -> None:
    """Keep the sums of these files on top of a run; those that are not there are forgotten."""
    before = _loaded(folder / TOP)
    there = {name for name in (*before.get(_SUMS, {}), *names) if (folder / name).is_file()}
    kept = {name: before[_SUMS][name] for name in there - set(names)}
    sums = kept | {name: file_sum(folder / name) for name in names if name in there}
    record = {"schema": 1, _SUMS: dict(sorted(sums.items()))}
    record |= {_OWN: _own_sum(record)}
    if record != before:
        write_json(folder / TOP, record)


def settle(folder: Path, *names: str) -> None:
    """``note`` what a process wrote and was killed before it noted; forget the sums of what is gone."""
    known = _loaded(folder / TOP).get(_SUMS, {})
    note(folder, *(name for name in names if name not in known or not (folder / name).is_file()))


def is_noted(folder: Path, name: str) -> bool:
    """Whether the file on top of a run is there, as ``note`` saw it last (or has never seen it)."""
    wanted = _loaded(folder / TOP).get(_SUMS, {}).get(name)
    return (folder / name).is_file() and (wanted is None or file_sum(folder / name) == wanted)


def check_folder(folder: Path) -> list[Checked]:
    """Every file below a run's folder, or a student's, in order; locks and hidden files are left out."""
    found = {entry.path: entry for record in _records(folder) for entry in _of_record(folder, record)}
    for path in _files(folder):
        found.setdefault(path, Checked(path=path, state="unchecked"))
    return [found[path] for path in sorted(found)]


def _files(folder: Path) -> Iterator[str]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith("."):
                yield Path(parent, name).relative_to(folder).as_posix()


def _records(folder: Path) -> list[str]:
    """Paths of all files that have sums of others."""
    steps = {Path(path).parent for path in _files(folder) if Path(path).name == RECORD}
    return [
        path
        for path in _files(folder)
        if Path(path).name in (RECORD, TOP) or (Path(path).name == _STUDENT and Path(path).parent not in steps)
    ]


def _of_record(run: Path, path: str) -> Iterator[Checked]:
    """The record itself, and the files that it has sums of."""
    record, parent = _loaded(run / path), Path(path).parent
    if Path(path).name == _STUDENT:
        sums, state = {_WEIGHTS: record.get(_WEIGHTS_SUM)}, "unchecked"
    else:
        sums, state = record.get(_SUMS, {}), _state_of_record(record)
    yield Checked(path=path, state=state, remedy=_remedy(run, path, state))
    for name, wanted in sums.items() if isinstance(sums, dict) else ():
        below = (parent / str(name)).as_posix()
        found = _state_of_file(run / below, wanted)
        yield Checked(path=below, state=found, remedy=_remedy(run, below, found))


def _remedy(run: Path, path: str, state: State) -> str:
    if state not in ("changed", "missing"):
        return ""
    step = next((p for p in (run / path).parents if (p / RECORD).is_file() and p != run.parent), None)
    if step is not None:
        return f"delete the step {step.name} ({step}) and run the same command again"
    if Path(path).name == _WEIGHTS:
        return "bring back the file, or export the student again"
    if Path(path).name == "config.yaml":
        return "delete it and give the configuration again"
    return "delete it and run the same command again" if Path(path).name != "run.json" else "bring back the file"


def _state_of_file(path: Path, wanted: Any) -> State:
    if not path.is_file():
        return "missing"
    if wanted is None:
        return "unchecked"
    return "ok" if file_sum(path) == wanted else "changed"


def _state_of_record(record: Mapping[str, Any]) -> State:
    """One of the two entries gives a record of this version away, even where the name of the other changed."""
    if not record.keys() & {_SUMS, _OWN}:
        return "unchecked"
    return "ok" if record.get(_OWN) == _own_sum(record) else "changed"


def _own_sum(record: Mapping[str, Any]) -> str:
    content = {key: value for key, value in record.items() if key != _OWN}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _loaded(path: Path) -> dict[str, Any]:
    """A JSON object, empty where the file is missing or damaged."""
    try:
        record = parse_json(path.read_text(encoding="utf-8"), path)
    except (OSError, UnicodeDecodeError, UsageError):
        return {}
    return record if isinstance(record, dict) else {}
