"""Files of a run as checked records; a file that is damaged or of another version is named and what to do is said."""

from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from distilnas.errors import UsageError
from distilnas.files import read_json
from distilnas.yaml_text import load_yaml

T = TypeVar("T")


def read_part(path: Path, kind: type[T], *parts: str) -> T | None:
    """The JSON file, or what lies at the entry ``parts`` of it, as a ``kind``; None when there is no such file."""
    return as_record(path, read_json(path), kind, *parts) if path.exists() else None


def as_record(path: Path, data: Any, kind: type[T], *parts: str) -> T:
    """``data``, read from ``path``, or what lies at its entry ``parts``, as a ``kind``."""
    for part in parts:
        data = data.get(part) if isinstance(data, dict) else None
    try:
        return TypeAdapter(kind).validate_python(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, (*parts, *first["loc"])))
        raise damaged(path, f"{where or 'the whole'}: {first['msg']}") from error


def to_json(record: Any) -> dict[str, Any]:
    """JSON values of a record, from which ``as_record`` makes it again: tuples become lists, records in it what their
    own ``to_dict`` says."""
    return {field.name: _plain(getattr(record, field.name)) for field in fields(record)}


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return getattr(value, "to_dict", partial(to_json, value))()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def read_text(path: Path) -> str | None:
    """None when there is no such file."""
    try:
        return path.read_text(encoding="utf-8") if path.exists() else None
    except (OSError, UnicodeDecodeError) as error:
        raise damaged(path, str(error)) from error


def read_config(folder: Path) -> dict[str, Any]:
    """The settings of a run as its folder keeps them; empty when it keeps none."""
    path = folder / "config.yaml"
    config = load_yaml(read_text(path) or "", str(path)) or {}
    if not isinstance(config, dict):
        raise damaged(path, "a mapping of settings is needed")
    return config


def recipe_of(folder: Path) -> str:
    """The recipe of a run folder as its configuration says, else its summary; ``dna`` where neither does."""
    summary = folder / "summary.json"
    for data in (read_config(folder), read_json(summary) if summary.exists() else None):
        if isinstance(data, dict) and "recipe" in data:
            return str(data["recipe"])
    return "dna"


def damaged(path: Path, why: str) -> UsageError:
    """What to raise for a file that cannot be used."""
    return UsageError(f"{path} is damaged or of another version ({why}). Delete it and run its step again.")
