"""Files that appear complete or not at all; no torch."""

import contextlib
import errno
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from distilnas.errors import UsageError


def write_bytes(path: Path, data: bytes) -> None:
    """Write aside, flush to disk, move into place; the parent folder is made.

    Raises ``UsageError`` when the disk is full or the place not writable. Whatever stops the writing, what was at
    ``path`` before stays untouched and nothing half-written is left beside it.
    """
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        raise _explain(path, len(data), error) from error
    finally:
        with contextlib.suppress(OSError):  # once moved into place it is gone
            os.unlink(temporary)


def write_text(path: Path, text: str) -> None:
    """``write_bytes`` of UTF-8 text."""
    write_bytes(path, text.encode())


def write_json(path: Path, data: Any) -> None:
    """``write_bytes`` of indented JSON; NaN and infinity are refused."""
    write_text(path, json.dumps(data, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file of a run; raises ``UsageError`` when it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {path}: {error}.") from error


def _explain(path: Path, size: int, error: OSError) -> UsageError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UsageError(
            f"no space left to write {path} ({size / 1e6:.1f} MB). Nothing finished was lost: free some space and run "
            "the same command again."
        )
    return UsageError(f"cannot write {path}: {error.strerror}. Give a folder you may write to.")
