"""What the page of a shrinking run reads of teacher's and students' answers, and of other budgets."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from markupsafe import Markup

from distilnas.report import wording
from distilnas.report.pictures import picture_uri
from distilnas.report.shrunk import Compared, ShrunkNetwork, ShrunkRecord
from distilnas.tables.measures import measure_info

_MOST_CLASSES = 12
_OWN = "own"  # what settings say of images and teachers from Python


@dataclass(frozen=True, kw_only=True)
class Row:
    """A student of the first table; ``weights``, ``onnx``: bytes of its files."""

    name: str
    network: ShrunkNetwork
    compared: Compared | None
    weights: int | None
    onnx: int | None


def answer(run: ShrunkRecord) -> dict[str, Any]:
    """What the sections on the result read."""
    students = run.found.students if run.found else ()
    rows = [_row(run, student) for student in students]
    labels = run.answers.labels if run.answers else None
    majority = None if labels is None else 100 * float(np.bincount(labels).max()) / len(labels)
    first = students[0].artefacts.get("onnx") if students else None
    return {
        "rows": rows,
        "majority": majority,
        "timed": any(student.latency_ms for student in students),
        "classes": _classes(run, rows),
        "teacher_file": run.sizes.get("teacher/teacher.safetensors"),
        "export_folder": (run.folder / first).parent.as_posix() if first else None,
    }


def _start(run: ShrunkRecord) -> dict[str, int]:
    """Where the first limit stands at first: at the least that the first student keeps, from below."""
    assert run.explored is not None
    if run.found is None:
        return {}
    name, values = next(iter(run.explored.grid.items()))
    kept = [i for i, value in enumerate(reversed(values.values())) if value >= getattr(run.found.students[0], name)]
    return {name: min(kept, default=len(values) - 1)}


def _row(run: ShrunkRecord, student: ShrunkNetwork) -> Row:
    files = student.artefacts
    place = PurePosixPath(files.get("weights", "")).parts
    return Row(
        name=", ".join(f"{wording.cost_name(name)} ≤ {limit}" for name, limit in student.budget.items()),
        network=student,
        compared=run.compared.get(place[1]) if len(place) > 1 else None,
        weights=run.sizes.get(files.get("weights", "")),
        onnx=run.sizes.get(files.get("onnx", "")),
    )


def _classes(run: ShrunkRecord, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Recall of teacher and students by class: of all, or of those that changed most, in the classes' order."""
    compared = [row.compared.answers for row in rows if row.compared]
    if run.answers is None or run.data is None or not compared:
        return []
    recalls = 100 * np.stack([one.recall for one in (run.answers, *compared)])
    images = run.answers.confusion.sum(1)
    known = np.flatnonzero(images)
    change = np.abs(recalls[1:] - recalls[0]).max(0)
    chosen = sorted(known[np.argsort(-change[known], kind="stable")][:_MOST_CLASSES].tolist())
    return [{"name": run.data.classes[i], "images": int(images[i]), "recall": recalls[:, i].tolist()} for i in chosen]


def photos(run: ShrunkRecord) -> list[dict[str, Any]]:
    """Photos of every student that have some."""
    names = run.data.classes if run.data else ()
    rows = [_row(run, student) for student in run.found.students] if run.found else []
    return [
        {
            "name": row.name,
            "photos": [
                {
                    "name": photo.name,
                    "picture": picture_uri(pixels),
                    "lost": photo.student != photo.label,
                    **{who: names[getattr(photo, who)] for who in ("label", "teacher", "student")},
                }
                for photo, pixels in zip(row.compared.photos, row.compared.pixels, strict=True)
            ],
        }
        for row in rows
        if row.compared and row.compared.photos
    ]


def explored(run: ShrunkRecord) -> Markup | None:
    """What the explorer's script reads; JSON that can stand in a script."""
    if run.explored is None:
        return None
    folder = run.folder.as_posix()
    own = f"source: {_OWN}" in (run.config or "") or f"model: {_OWN}" in (run.config or "")
    command = (
        ["distilnas.shrink(model, images, ", 'NAME="SHARE"', f', run="{folder}")']
        if own
        else [f'distilnas run {folder}/config.yaml --run {folder} "budgets=[{{', "NAME: SHARE", '}]"']
    )
    measures = [
        {"name": name, "words": measure_info(name).words, "values": list(reversed(values.items()))}
        for name, values in run.explored.grid.items()
    ]
    data = {
        "measures": measures,
        "start": _start(run),
        "teacher": run.explored.teacher,
        "units": run.explored.units,
        "students": run.explored.students,
        "command": command,
    }
    return Markup(json.dumps(data).replace("<", "\\u003c"))
