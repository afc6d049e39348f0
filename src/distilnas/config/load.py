"""From YAML text and ``key.sub=value`` overrides to a validated dataclass.

Unknown keys are errors that name the nearest valid key; values are converted and checked by pydantic.
"""

import dataclasses
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import TypeAdapter, ValidationError

from distilnas.errors import UsageError, nearest

T = TypeVar("T")
_EXTENDS = "extends"
_OVERRIDE = re.compile(r"[^.=\s]+(\.[^.=\s]+)*=")


def merge(
    source: str, overrides: Iterable[str], *, origin: str, read: Callable[[str], str] | None = None
) -> dict[str, Any]:
    """YAML text with ``key.sub=value`` overrides applied; ``origin`` names the text in messages.

    A mapping may say ``extends: NAME``: it then changes and adds to the configuration that ``read(NAME)`` gives.
    """
    try:
        base = OmegaConf.create(_extended(yaml.safe_load(source) or {}, read, (origin,)))
        for override in overrides:
            if not _OVERRIDE.match(override):
                raise UsageError(f"not an override: {override!r}; valid: key.sub=value.")
        merged = OmegaConf.merge(base, OmegaConf.from_dotlist(list(overrides)))
        data = OmegaConf.to_container(merged, resolve=True)
    except (yaml.YAMLError, OmegaConfBaseException, ValueError, TypeError) as error:
        raise UsageError(f"cannot read {origin}: {str(error).splitlines()[0]}") from error
    if not isinstance(data, dict):
        raise UsageError(f"{origin} is not a configuration: a mapping of settings is needed.")
    return typing.cast("dict[str, Any]", data)


def _extended(data: Any, read: Callable[[str], str] | None, within: tuple[str, ...]) -> Any:
    """``data`` with what it extends filled in, at any depth; ``within``: the configurations around it."""
    if not isinstance(data, Mapping):
        return data
    own = {key: _extended(value, read, within) for key, value in data.items() if key != _EXTENDS or read is None}
    name = data.get(_EXTENDS)
    if name is None or read is None:
        return own
    if name in within:
        raise UsageError(f"{within[-1]} extends {name}, which extends it again; take one of them out.")
    base = _extended(yaml.safe_load(read(str(name))) or {}, read, (*within, str(name)))
    return OmegaConf.to_container(OmegaConf.merge(OmegaConf.create(base), OmegaConf.create(own)))


def parse(data: Mapping[str, Any], kind: type[T]) -> T:
    """``data`` as the dataclass ``kind``, nested dataclasses included."""
    check_keys(data, kind)
    try:
        return TypeAdapter(kind).validate_python(dict(data))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"setting {where}: {first['msg']}, got {first['input']!r}.") from error


def check_keys(data: Any, kind: Any, path: str = "") -> None:
    """Raise ``UsageError`` for the first key of ``data`` that ``kind`` does not have."""
    record = _dataclass_of(kind)
    if record is None or not isinstance(data, Mapping):
        return
    hints = typing.get_type_hints(record)
    for key, value in data.items():
        if key not in hints:
            raise UsageError(f"unknown setting {path + str(key)!r}; {nearest(str(key), hints)}")
        check_keys(value, hints[key], f"{path}{key}.")


def flatten(data: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one flat mapping with dotted keys."""
    if not isinstance(data, Mapping):
        return {prefix.rstrip("."): data}
    flat: dict[str, Any] = {}
    for key, value in data.items():
        flat |= flatten(value, f"{prefix}{key}.")
    return flat


def read_text(path: Path) -> str:
    """Text of a configuration file."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the configuration {path}: {error}") from error


def _dataclass_of(kind: Any) -> type | None:
    """The dataclass in a type such as ``Record`` or ``Record | None``."""
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return kind
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return next((arg for arg in map(_dataclass_of, typing.get_args(kind)) if arg), None)
    return None
