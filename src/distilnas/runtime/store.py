"""The run folder: the interface between steps.

A step reads and writes named files below its own folder and finishes by writing ``step.json`` with a key: the hash of
all it depends on. A step that finds a finished record with the same key and intact files is skipped; so resuming,
solving for another budget and working in several places are one mechanism. Where several processes work on a run
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

from distilnas.errors import UsageError
from distilnas.files import read_json, write_json
from distilnas.runtime import ranks

SCHEMA = 1
_LOG = logging.getLogger(__name__)
_RECORD = "step.json"
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
            others = [p.name for p in self.folder.iterdir() if p.name != ".lock"]
            if others:
                shown = ", ".join(sorted(others)[:3])
                raise UsageError(f"{self.folder} holds other files ({shown}); give an empty folder with --run.")
            write_json(path, {"schema": SCHEMA, "identity": identity})
            return
        saved = read_json(path).get("identity", {})
        changed = sorted(key for key in saved.keys() | identity.keys() if saved.get(key) != identity.get(key))
        if changed:
            shown = "; ".join(f"{key}: {saved.get(key)!r} there, {identity.get(key)!r} asked" for key in changed[:3])
            raise UsageError(
                f"{self.folder} is a run of another configuration ({shown}). Give another folder with --run."
            )

    def finished(self, name: str, inputs: dict[str, Any]) -> StepRecord | None:
        """The record of step ``name`` if it was finished with these inputs and its files are intact."""
        folder = self.folder / name
        record = _read_record(folder / _RECORD)
        if record.get("schema") != SCHEMA or record.get("key") != key_of(inputs):
            return None
        damaged = [f for f, size in record["files"].items() if not _has_size(folder / f, size)]
        if damaged:
            _LOG.warning("step %s is done again: %s changed since it finished", name, ", ".join(damaged))
            return None
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
        write_json(folder / _RECORD, record)
        return StepRecord(name=name, folder=folder, key=record["key"], result=result, seconds=seconds, skipped=False)

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
        if _read_record(marker).get("key") == key:
            for path in (folder / _RECORD, *folder.rglob(".*")):  # a record here is of files since damaged
                path.unlink(missing_ok=True)
            return
        if folder.exists():
            shutil.rmtree(folder)
        write_json(marker, {"key": key})


def _read_record(path: Path) -> dict[str, Any]:
    """A JSON object, empty where the file is missing or damaged: its step is then done again."""
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.name != _RECORD)


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size
