"""From YAML text and ``key.sub=value`` overrides to a validated dataclass.

Unknown keys are errors that name the nearest valid key; values are converted and checked by pydantic.
"""

import dataclasses
import json
import math
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import TypeAdapter, ValidationError

from distilnas.errors import UsageError, nearest
from distilnas.files import read_text as read_file
from distilnas.yaml_text import DEEPEST, load_yaml

T = TypeVar("T")
_EXTENDS = "extends"
_LONG = 80
# The largest sensible value of settings by their name: what is above would fail hours later, or take all memory.
MOST = {
    "epochs": 100_000,
    "rounds": 1_000,
    "batch_size": 65_536,
    "micro_batch": 65_536,
    "lr_base_size": 1_000_000,
    "resolution": 4_096,
    "images": 100_000_000,
    "classes": 100_000,
    "train_images": 1_000_000_000,
    "padding": 1_024,
    "alternatives": 1_000,
    "number": 100_000,
    "held_out": 100_000_000,
    "stem_width": 16_384,
    "head_width": 65_536,
    "depths": 64,
    "kernels": 31,
    "expansions": 64,
    "width_ratios": 64,
    "width": 16_384,
    "num_cells": 1_000,
    "cells_per_step": 1_000_000,
    "checkpoint_seconds": 1e9,
    "cache_mb": 1e9,
}
_OVERRIDE = re.compile(r"[^.=\s]+(\.[^.=\s]+)*=")


def merge(
    source: str, overrides: Iterable[str], *, origin: str, read: Callable[[str], str] | None = None
) -> dict[str, Any]:
    """YAML text with ``key.sub=value`` overrides applied; ``origin`` names the text in messages.

    A mapping may say ``extends: NAME``: it then changes and adds to the configuration that ``read(NAME)`` gives.
    """
    try:
        merged: Any = OmegaConf.create(_extended(load_yaml(source, origin) or {}, read, (origin,)))
        for override in overrides:
            merged = _overridden(merged, override, origin)
        data = OmegaConf.to_container(merged)
    except (OmegaConfBaseException, ValueError, TypeError, RecursionError) as error:
        raise UsageError(f"cannot read {origin}: {str(error).splitlines()[0]}") from error
    if not isinstance(data, dict):
        raise UsageError(f"{origin} is not a configuration: a mapping of settings is needed.")
    return typing.cast("dict[str, Any]", data)


def _overridden(settings: Any, override: str, origin: str) -> Any:
    """``settings`` with ``key.sub=value``; an empty mapping (``{}``) takes the place of what was there."""
    if not _OVERRIDE.match(override):
        raise UsageError(f"not an override: {override!r}; valid: key.sub=value.")
    key, _, text = override.partition("=")
    if key.count(".") > DEEPEST:
        raise UsageError(f"not an override: a key of {key.count('.') + 1} parts; the deepest setting has a few.")
    value = load_yaml(text, f"{origin} with {override[:_LONG]}")
    if value == {} and OmegaConf.select(settings, key) is not None:
        OmegaConf.update(settings, key, {}, merge=False)
        return settings
    return OmegaConf.merge(settings, OmegaConf.from_dotlist([override]))


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
    base = _extended(load_yaml(read(str(name)), str(name)) or {}, read, (*within, str(name)))
    return OmegaConf.to_container(OmegaConf.merge(OmegaConf.create(base), OmegaConf.create(own)))


def parse(data: Mapping[str, Any], kind: type[T]) -> T:
    """``data`` as the dataclass ``kind``, nested dataclasses included."""
    check_keys(data, kind)
    check_amounts(data)
    try:
        return TypeAdapter(kind).validate_python(dict(data))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"setting {where}: {first['msg']}, got {_short(first['input'])}.") from error


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


def check_amounts(data: Any, path: str = "") -> None:
    """Raise ``UsageError`` for a number that is none, or that no machine could serve (``MOST``)."""
    if isinstance(data, Mapping):
        for key, value in data.items():
            check_amounts(value, f"{path}{key}.")
    elif isinstance(data, (list, tuple)):
        for value in data:
            check_amounts(value, path)
    elif (number := _number(data)) is not None:
        name, _, last = path.rstrip("."), "", path.rstrip(".").rpartition(".")[2]
        if not math.isfinite(number):
            raise UsageError(f"setting {name}: a finite number is needed, got {data}.")
        if last in MOST and abs(number) > MOST[last]:
            raise UsageError(f"setting {name}: at most {MOST[last]:,} is sensible, got {_short(data)}.")


def _number(value: Any) -> float | None:
    """What pydantic would read as a number, from text, too."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf
    except ValueError:
        return None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONG else f"{text[:_LONG]}..."


def flatten(data: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one flat mapping with dotted keys."""
    if not isinstance(data, Mapping):
        return {prefix.rstrip("."): data}
    flat: dict[str, Any] = {}
    for key, value in data.items():
        flat |= flatten(value, f"{prefix}{key}.")
    return flat


def overrides_from(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Nested mappings as overrides, ``key.sub=value``."""
    return tuple(f"{key}={json.dumps(value)}" for key, value in flatten(settings).items())


def read_text(path: Path) -> str:
    """Text of a configuration file."""
    return read_file(path, "the configuration ")


def _dataclass_of(kind: Any) -> type | None:
    """The dataclass in a type such as ``Record`` or ``Record | None``."""
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return kind
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return next((arg for arg in map(_dataclass_of, typing.get_args(kind)) if arg), None)
    return None
