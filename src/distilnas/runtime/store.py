"""The run folder: the interface between steps.

A step reads and writes named files below its own folder and finishes by writing ``step.json`` with a key: the hash of
all it depends on. A step that finds a finished record with the same key is skipped; so resuming, solving for another
budget and working in several places are one mechanism. Before anything of a step is read, its files are checked against
the sums in its record (``distilnas.checksums``): what changed is refused. Where several processes work on a run
(``distilnas.runtime.ranks``) only the first writes here; the others read.
"""

import hashlib
import json
import logging
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from distilnas import checksums
from distilnas.errors import UsageError
from distilnas.files import is_leftover, read_json, write_json
from distilnas.runtime import ranks

SCHEMA = 1
_LOG = logging.getLogger(__name__)
_RECORD = checksums.RECORD
_FIRST = frozenset({"run.json", "config.yaml", checksums.TOP})  # what is written before a folder is known for a run
_LOOK_SECONDS = 0.1


def key_of(inputs: Any) -> str:
    """First 16 hex digits of the SHA-256 of JSON values."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True, allow_nan=False).encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """A finished step: its key, what it says of its result, how long it took, whether it was there already."""

    name: str
    folder: Path
    key: str
    result: dict[str, Any]
    seconds: float
    skipped: bool


class Run:
    """A run folder, locked for this process between ``open`` and ``close`` (use as a context manager)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._seen: dict[str, tuple[Any, ...]] = {}  # steps by name, and the state of their files when checked
        self._lock = FileLock(folder / ".lock")
        if not ranks.leads():
            return
        try:
            if folder.exists() and not folder.is_dir():
                raise UsageError(f"the run folder {folder} is a file; give a folder.")
            folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise UsageError(
                f"another process is working on {folder}; wait for it, or give another folder with --run."
            ) from error
        except OSError as error:
            raise UsageError(f"cannot work in the run folder {folder}: {error.strerror}.") from error

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def claim(self, identity: dict[str, Any]) -> None:
        """Bind a new folder to ``identity`` (flat setting -> value), or check that it is this folder's.

        Raises ``UsageError`` naming the first settings that differ.
        """
        path = self.folder / "run.json"
        if not ranks.leads():
            return
        if not path.exists():
            names = [p.name for p in self.folder.iterdir() if p.name != ".lock"]
            others = [name for name in names if not is_leftover(name, _FIRST)]
            if others:
                shown = ", ".join(sorted(others)[:3])
                raise UsageError(f"{self.folder} holds other files ({shown}); give an empty folder with --run.")
            write_json(path, {"schema": SCHEMA, "identity": identity})
            return
        saved = _identity(path)
        changed = sorted(key for key in saved.keys() | identity.keys() if saved.get(key) != identity.get(key))
        if changed:
            shown = "; ".join(f"{key}: {saved.get(key)!r} there, {identity.get(key)!r} asked" for key in changed[:3])
            raise UsageError(
                f"{self.folder} is a run of another configuration ({shown}). Give another folder with --run."
            )

    def finished(self, name: str, inputs: dict[str, Any]) -> StepRecord | None:
        """The record of step ``name`` if it was finished with these inputs and its files are there.

        Raises ``UsageError`` for a file that changed since.
        """
        folder = self.folder / name
        record = checksums.read_record(folder)
        if record.get("schema") != SCHEMA or record.get("key") != key_of(inputs):
            return None
        gone = [f for f, size in record["files"].items() if _is_gone(folder / f, None if "sha256" in record else size)]
        if gone:
            _LOG.warning("step %s is done again: %s changed since it finished", name, ", ".join(gone))
            return None
        state = _states(folder, record)
        if self._seen.get(name) != state:
            checksums.check_files(folder, record)
            self._seen[name] = state
        return StepRecord(
            name=name,
            folder=folder,
            key=record["key"],
            result=record["result"],
            seconds=record["seconds"],
            skipped=True,
        )

    def step(
        self, name: str, inputs: dict[str, Any], work: Callable[[Path], dict[str, Any]], *, together: bool = False
    ) -> StepRecord:
        """Do ``work(folder)`` unless it is finished with these inputs.

        ``work`` writes its files below ``folder`` and returns JSON values; a float ``seconds_before`` among them is
        time spent by earlier, interrupted processes. What a step with other inputs left there is removed first.
        ``together``: all ranks do it, sharing what ``ranks`` lets them share; else the first alone.
        """
        done = self.finished(name, inputs)
        if done:
            return done
        if not ranks.leads():
            return self._follow(name, inputs, work if together else None)
        folder = self.folder / name
        self._prepare(folder, key_of(inputs))
        start = time.monotonic()
        with ranks.shared(together):
            result = work(folder)
        seconds = time.monotonic() - start + result.pop("seconds_before", 0.0)
        record = {
            "schema": SCHEMA,
            "name": name,
            "key": key_of(inputs),
            "inputs": inputs,
            "result": result,
            "seconds": seconds,
            "files": {str(p.relative_to(folder)): p.stat().st_size for p in _files(folder)},
        }
        write_json(folder / _RECORD, checksums.sealed(record, folder, record["files"]))
        self._seen[name] = _states(folder, record)
        return StepRecord(name=name, folder=folder, key=record["key"], result=result, seconds=seconds, skipped=False)

    def check(self) -> list[str]:
        """Read all files of the steps that were asked for, and hold them against their sums.

        Returns the steps whose records, of an older version, have none; raises ``UsageError`` for what changed.
        """
        unchecked = []
        for name in self._seen:
            record = checksums.read_record(self.folder / name)
            checksums.check_files(self.folder / name, record)
            unchecked += [] if "sha256" in record else [name]
        return unchecked

    def _follow(self, name: str, inputs: dict[str, Any], work: Callable[[Path], dict[str, Any]] | None) -> StepRecord:
        """Take part in the step, where it is shared, and wait for the first rank's record of it."""
        if work:
            with ranks.shared(True), tempfile.TemporaryDirectory() as scratch:
                work(Path(scratch))
        while (done := self.finished(name, inputs)) is None:
            time.sleep(_LOOK_SECONDS)
        return done

    def _prepare(self, folder: Path, key: str) -> None:
        """Keep what an interrupted attempt with the same key left, but for half-written files; remove anything else."""
        marker = folder / "started.json"
        if _marked(marker) == key:
            for path in (folder / _RECORD, *folder.rglob(".*")):  # a record here is of files since damaged
                path.unlink(missing_ok=True)
            return
        if folder.exists():
            shutil.rmtree(folder)
        write_json(marker, {"key": key})


def _identity(path: Path) -> dict[str, Any]:
    """What the run folder is bound to."""
    record = read_json(path)
    identity = record.get("identity") if isinstance(record, dict) else None
    if not isinstance(identity, dict):
        raise UsageError(f"{path} is damaged: bring back the file, or give another folder with --run.")
    return identity


def _marked(path: Path) -> str | None:
    """The key in a marker; None where it is missing or damaged: its step then starts clean."""
    try:
        record = read_json(path)
    except UsageError:
        return None
    return record.get("key") if isinstance(record, dict) else None


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.name != _RECORD)


def _is_gone(path: Path, size: int | None) -> bool:
    """``size`` is what tells a changed file where there is no sum."""
    return not path.is_file() or (size is not None and path.stat().st_size != size)


def _states(folder: Path, record: dict[str, Any]) -> tuple[Any, ...]:
    """What tells that a step's files were written since they were checked, without reading them."""
    found = [(folder / name).stat() for name in record["files"]]
    return record["key"], *((file.st_ino, file.st_size, file.st_mtime_ns) for file in found)
