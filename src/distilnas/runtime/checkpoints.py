"""State of interrupted work: nested dicts and lists with tensors, as one safetensors file; never pickle."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from distilnas.errors import UsageError
from distilnas.files import write_bytes

_TREE = "tree"
_TENSOR = "__tensor__"
_PAIRS = "__dict__"


def save_tree(path: Path, tree: Any) -> None:
    """Write nested dicts (str or int keys), lists, tuples (read back as lists), numbers, strings, None and tensors."""
    tensors: dict[str, Tensor] = {}
    text = json.dumps(_encode(tree, tensors))
    write_bytes(path, save(tensors, metadata={_TREE: text}))


def load_tree(path: Path) -> Any:
    """Read ``save_tree``'s file, tensors on the CPU; raises ``UsageError`` when the file is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
            text = (file.metadata() or {})[_TREE]
        return _decode(json.loads(text), tensors)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise UsageError(
            f"the checkpoint {path} is damaged ({error}). Delete this file and run the same command again: only the "
            "work of its step since its start is repeated."
        ) from error


def _encode(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        return {_TENSOR: name}
    if isinstance(value, dict):
        if not all(isinstance(key, (str, int)) for key in value):
            raise TypeError(f"keys in a checkpoint are str or int, got {list(value)}")
        return {_PAIRS: [[key, _encode(item, tensors)] for key, item in value.items()]}
    if isinstance(value, (list, tuple)):
        return [_encode(item, tensors) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"cannot store {type(value).__name__} in a checkpoint")


def _decode(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, dict):
        if _TENSOR in value:
            return tensors[value[_TENSOR]]
        return {key: _decode(item, tensors) for key, item in value[_PAIRS]}
    if isinstance(value, list):
        return [_decode(item, tensors) for item in value]
    return value
