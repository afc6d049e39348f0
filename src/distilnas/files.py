"""Files that appear complete or not at all; no torch."""

import contextlib
import errno
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

from distilnas.errors import UsageError

_LEFTOVER = re.compile(r"\.(?P<name>.+\.(json|yaml|html|md|safetensors|npz|csv|onnx|png|pt2))\.[a-z0-9_]{8}")


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
    """``write_bytes`` of UTF-8 text; what of a file's name is no text is written as escapes."""
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_json(path: Path, data: Any) -> None:
    """``write_bytes`` of indented JSON; NaN and infinity are refused."""
    write_text(path, json.dumps(data, indent=2, allow_nan=False) + "\n")


def is_leftover(name: str, of: frozenset[str] | None = None) -> bool:
    """Whether a file's name is one that ``write_bytes`` writes aside under (for one of these files, or for any)."""
    match = _LEFTOVER.fullmatch(name)
    return match is not None and (of is None or match["name"] in of)


def remove_leftovers(folder: Path) -> None:
    """Remove what writes into ``folder`` that were killed before their end left there, at any depth."""
    for path in folder.rglob(".*"):
        if is_leftover(path.name) and path.is_file() and not path.is_symlink():
            with contextlib.suppress(OSError):
                path.unlink()


def read_text(path: Path, what: str = "") -> str:
    """UTF-8 text of a file that a user gives (``what`` it is, for messages); ``UsageError`` when it is none."""
    try:
        data = path.read_bytes()
        return data.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"cannot read {what}{path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        kind = "UTF-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else f"no UTF-8 (byte {error.start + 1})"
        raise UsageError(
            f"cannot read {what}{path}: text in UTF-8 is needed, this is {kind}. Save it as UTF-8."
        ) from error


def parse_json(text: str, origin: Path | str) -> Any:
    """JSON from any hand; raises ``UsageError`` naming ``origin`` where it is damaged or nested without end."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise UsageError(f"cannot read {origin}: its brackets are nested too deep.") from error
    except ValueError as error:
        raise UsageError(f"cannot read {origin}: {error}.") from error


def read_json(path: Path) -> Any:
    """Read a JSON file; raises ``UsageError`` when it is missing or damaged."""
    return parse_json(read_text(path), path)


def _explain(path: Path, size: int, error: OSError) -> UsageError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UsageError(
            f"no space left to write {path} ({size / 1e6:.1f} MB). Nothing finished was lost: free some space and run "
            "the same command again."
        )
    return UsageError(f"cannot write {path}: {error.strerror}. Give a folder you may write to.")
