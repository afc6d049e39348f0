"""Reading a pickle as data: arrays, numbers, text and containers of them, and nothing that could run.

A pickle is a small program whose instruction "global" may name any function of any installed package, and "reduce"
calls it. Here the three names by which numpy's arrays are written lead to a record without behaviour, and every other
name is an error. Not even numpy itself gets to see the file's values before they are checked.
"""

import io
import pickle
from typing import Any

import numpy as np

from distilnas.errors import UsageError

_ARRAY_NAMES = {
    (module, name)
    for module, name in [
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
    ]
}


class Parts:
    """What a pickle says of an array or of its dtype, unused: arguments of the call, and the state set afterwards."""

    def __init__(self, *args: Any) -> None:
        self.args = args
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _DataOnly(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> type[Parts]:
        if (module_name, global_name) not in _ARRAY_NAMES:
            raise pickle.UnpicklingError(f"it names {module_name}.{global_name}, which is no part of an array")
        return Parts


def unpickled(data: bytes, name: str) -> Any:
    """The value in a pickle; byte strings of Python 2 stay bytes, arrays come as :class:`Parts` (see :func:`pixels`).

    Raises ``UsageError`` naming ``name`` when the pickle is damaged or asks for anything but data.
    """
    try:
        return _DataOnly(io.BytesIO(data), encoding="bytes").load()
    except Exception as error:  # damaged opcodes end in almost any exception
        raise UsageError(
            f"A pickle is read for its arrays, numbers and text alone, but {name} was refused: {error}. Nothing of it "
            "was run. Get the file from its official place."
        ) from error


def pixels(value: Any, name: str) -> np.ndarray:
    """(n, m) uint8 from the :class:`Parts` of such an array.

    Raises ``UsageError`` naming ``name`` for anything else.
    """
    try:
        _version, shape, dtype, by_column, data = value.state
        if dtype.args[0] not in (b"u1", "u1") or by_column or len(shape) != 2:
            raise ValueError(f"dtype {dtype.args[0]!r}, shape {shape}, column order {by_column}")
        return np.frombuffer(data, dtype=np.uint8).reshape(shape)
    except (AttributeError, TypeError, ValueError, IndexError) as error:
        raise UsageError(
            f"{name} must hold its pixels as a two-dimensional array of bytes in row order, but does not: {error}. "
            "Get the file from its official place."
        ) from error
