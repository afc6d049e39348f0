"""A library's pieces in a folder that is measured on another device, and what comes back from there."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from distilnas.errors import UsageError
from distilnas.files import read_json, write_json, write_text
from distilnas.latency import stopwatch
from distilnas.latency.design import Design, design_key, design_of, rows_of
from distilnas.latency.measuring import measurement, write_list
from distilnas.latency.settings import LatencySettings
from distilnas.latency.table import TABLE_SECONDS, LatencyTable, table_from
from distilnas.runtime.progress import Progress
from distilnas.surgery.library import Choice, Library

SCHEMA = 1
DESIGN, SCRIPT, README = "design.json", "stopwatch.py", "README.txt"
_README = """Latencies of the pieces of a network, to be measured on this device.

1. Python 3.9 or later with numpy and onnxruntime (no other package): pip install numpy onnxruntime
2. Close other programs, fix the clock if you can, then, three times:  python stopwatch.py .
3. Bring the folder (or its files times-*.json) back:  distilnas latency import FOLDER
"""


def write_folder(folder: Path, library: Library, settings: LatencySettings, progress: Progress | None = None) -> None:
    """Everything that the other device needs, in a new or empty ``folder``."""
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"a folder to export into must be new or empty, and {folder} is not: give another.")
    folder.mkdir(parents=True, exist_ok=True)
    design = design_of(library)
    key, rows = design_key(library, design), rows_of(library, design, settings, progress)
    write_list(folder, rows, settings, seconds=TABLE_SECONDS, key=key)
    shutil.copyfile(stopwatch.__file__, folder / SCRIPT)
    write_text(folder / README, _README)
    keys = [[piece.key for piece in row] for row in rows]
    write_json(folder / DESIGN, {"schema": SCHEMA, "design": key, **_told(design), "keys": keys})


def read_folder(folder: Path) -> LatencyTable:
    """The table from a folder that was measured; raises ``UsageError`` where it was not, or is not whole."""
    found = [read_json(path) for path in stopwatch.written(folder)]
    if not found:
        raise UsageError(f"{folder} has no times yet: run `python {SCRIPT} .` in it on the device, then import it.")
    told, asked = read_json(folder / DESIGN), read_json(folder / stopwatch.LIST)
    for one in found:
        if one.get("key") != told["design"] or len(one["rows"]) != len(told["keys"]):
            raise UsageError(f"the times in {folder} are of another export: measure this folder again.")
        if (one["version"], one["processor"]) != (found[0]["version"], found[0]["processor"]):
            raise UsageError(f"the times in {folder} are of two devices or runtimes: keep those of one.")
    settings = LatencySettings(**{name: asked[name] for name in ("runtime", "device", "threads", "batch")})
    table = table_from(told["design"], _design(told), told["keys"], measurement(found), settings)
    return replace(table, elsewhere=True)


def _told(design: Design) -> dict[str, Any]:
    wholes = [{"kept": one.kept, "early": one.early, "side": one.side} for one in design.wholes]
    return {"forms": design.forms, "sides": design.sides, "heads": design.heads, "wholes": wholes}


def _design(told: Mapping[str, Any]) -> Design:
    wholes = (
        Choice(kept=tuple(None if n is None else tuple(n) for n in one["kept"]), early=one["early"], side=one["side"])
        for one in told["wholes"]
    )
    return Design(
        forms=tuple(tuple(tuple(form) for form in forms) for forms in told["forms"]),
        sides=tuple(told["sides"]),
        heads=tuple(told["heads"]),
        wholes=tuple(wholes),
    )
