"""Arrays with a JSON description in one .npz file, written aside and moved into place; never pickle."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from distilnas.errors import UsageError
from distilnas.files import write_bytes

_META = "meta.json"


def write_arrays(path: Path, arrays: dict[str, np.ndarray], meta: dict[str, Any]) -> None:
    """Write ``arrays`` and ``meta`` (JSON values) to ``path``."""
    buffer = io.BytesIO()
    encoded = np.frombuffer(json.dumps(meta | {"arrays": list(arrays)}).encode(), dtype=np.uint8)
    np.savez_compressed(buffer, allow_pickle=False, **{_META: encoded}, **arrays)
    write_bytes(path, buffer.getvalue())


def read_arrays(
    path: Path, *, kind: str, schema: int, older: tuple[int, ...] = ()
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what ``write_arrays`` wrote; raises ``UsageError`` when the file is damaged or of another kind or schema.

    ``older``: schemas that are read too, as they were written.
    """
    try:
        if path.is_file() and not zipfile.is_zipfile(path):
            raise ValueError("it is no whole .npz file")
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
        meta = dict(json.loads(arrays.pop(_META).tobytes()))
        if lost := set(meta.pop("arrays", ())) - set(arrays):
            raise ValueError(f"{', '.join(sorted(lost))} missing")
    except FileNotFoundError as error:
        raise UsageError(f"there is no file {path}.") from error
    except Exception as error:  # damaged bytes surface as whatever numpy, zipfile or zlib meets first
        raise UsageError(
            f"cannot read {path}: {error}. If a step wrote it, delete it and run the step again."
        ) from error
    if meta.get("kind") != kind or meta.get("schema") not in (schema, *older):
        raise UsageError(
            f"{path} holds {meta.get('kind')} of schema {meta.get('schema')}; {kind} of schema "
            f"{' or '.join(map(str, (*older, schema)))} are needed."
        )
    return arrays, meta
