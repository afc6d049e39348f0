"""What of a configuration can be wrong though every setting is well formed: names and paths that are not there.

Nothing is trained, and no image is read; what needs the images themselves (their classes, a budget out of reach) is
told when the run begins, before it writes anything.
"""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from distilnas.errors import UsageError
from distilnas.networks.files import student_key
from distilnas.recipes.settings import OWN, DataSettings, SpaceSettings, TeacherSettings
from distilnas.recipes.spaces import named_space
from distilnas.teachers.create import check_teacher_name, create_teacher

_MADE = ("digits", "synthetic", OWN)
_CLASSES = 10  # any number: nothing here depends on it


def check_settings(settings: Any) -> None:
    """Raise ``UsageError`` for the first name or path of the settings, at any depth, that leads nowhere."""
    for part in _parts(settings):
        match part:
            case DataSettings():
                _check_data(part)
            case TeacherSettings():
                _check_teacher(part)
            case SpaceSettings() if part.fitted is None:
                named_space(part)
            case _:
                pass


def _parts(record: Any) -> Iterator[Any]:
    yield record
    for value in (getattr(record, field.name) for field in fields(record)):
        if is_dataclass(value):
            yield from _parts(value)


def _check_data(data: DataSettings) -> None:
    """A name on the hub, a pattern of shards or an address is no path that could be missing."""
    if data.source in _MADE or data.path is None:
        return
    for name, path in (("path", data.path), ("test_path", data.test_path)):
        free = data.source == "hf" or (data.source == "wds" and any(sign in str(path) for sign in "{*?["))
        if path is not None and not free and not Path(path).expanduser().exists():
            raise UsageError(f"data.{name} must exist, got {path} (no such path). Check the spelling.")


def _check_teacher(teacher: TeacherSettings) -> None:
    if teacher.model == OWN:
        return
    if teacher.student is not None:
        student_key(teacher.student)
        return
    check_teacher_name(teacher.model, teacher.pretrained)
    if teacher.weights is not None and not Path(teacher.weights).is_file():
        raise UsageError(f"teacher.weights must be a file, {teacher.weights} is none: check the path.")
    create_teacher(teacher.model, num_classes=_CLASSES, model_kwargs=teacher.model_kwargs)
