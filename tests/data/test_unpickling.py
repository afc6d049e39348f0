"""Attacks are written by Python's own pickle or opcode by opcode. Python 2's form of the files: see test_cifar."""

import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distilnas.data.unpickling import pixels, unpickled
from distilnas.errors import UsageError


@pytest.mark.parametrize("protocol", [3, 4])
def test_arrays_numbers_and_text_come_back(protocol: int) -> None:
    array = np.arange(12, dtype=np.uint8).reshape(3, 4)
    found = unpickled(pickle.dumps({"data": array, "labels": [1, 2], "text": "x"}, protocol), "file")
    assert (found["labels"], found["text"]) == ([1, 2], "x")
    np.testing.assert_array_equal(pixels(found["data"], "file"), array)


class _Calls:
    """Pickles to the instruction to call ``function``."""

    def __init__(self, function: Callable, *args: Any) -> None:
        self.call = (function, args)

    def __reduce__(self) -> tuple:
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_nothing_in_a_malicious_pickle_runs(tmp_path: Path, protocol: int) -> None:
    trace = tmp_path / "ran"
    attack = {"data": [1, 2], "labels": _Calls(os.system, f"touch {trace}")}
    data = pickle.dumps(attack, protocol)
    with pytest.raises(UsageError, match=r"batch_1 was refused: it names posix\.system, which is no part of an array"):
        unpickled(data, "batch_1")
    assert not trace.exists()
    pickle.loads(data)  # the attack is a real one
    assert trace.exists()


@pytest.mark.parametrize(
    "name",
    ["builtins eval", "numpy load", "numpy ndarray.tofile", "numpy.core.multiarray scalar", "__main__ ndarray"],
)
def test_other_names_are_refused_even_numpys_own(name: str) -> None:
    module, function = name.split()
    for opcodes in (f"c{module}\n{function}\n.".encode(), _by_stack(module, function)):
        with pytest.raises(UsageError, match=f"it names {module}.{function}"):
            unpickled(opcodes, "file")


def _by_stack(module: str, function: str) -> bytes:
    """The names as protocol 4 writes them, where dots in the second are attributes."""
    text = [b"\x8c" + bytes([len(part)]) + part.encode() for part in (module, function)]
    return b"\x80\x04" + b"".join(text) + b"\x93."


@pytest.mark.parametrize(
    "opcodes",
    [
        b"cnumpy\nndarray\n}X\x01\x00\x00\x00xK\x01sb.",  # sets an attribute of what the name stands for
        b"cnumpy\nndarray\nN}X\x01\x00\x00\x00xK\x01s\x86b.",  # the same, by way of slots
        b"\x80\x02K\x01)R.",  # calls a number
        b"\x80\x02\x82\x01.",  # a name by its number in a registry
        b"Pwho\n.",  # an object that somebody else keeps
        b"(lp0\nI1",  # cut off
        b"",
        b"no pickle",
    ],
)
def test_damaged_and_clever_pickles_are_refused(opcodes: bytes) -> None:
    with pytest.raises(UsageError, match="file was refused"):
        unpickled(opcodes, "file")


def test_what_a_name_stands_for_is_not_changed_by_any_pickle() -> None:
    from distilnas.data.unpickling import Parts

    before = dict(vars(Parts))
    for opcodes in (b"cnumpy\nndarray\n}X\x04\x00\x00\x00argsK\x01sb.", b"cnumpy\nndarray\n(K\x01K\x02\x86b."):
        with pytest.raises(UsageError):
            unpickled(opcodes, "file")
    assert dict(vars(Parts)) == before


@pytest.mark.parametrize(
    "value",
    [
        np.zeros((2, 3), dtype=np.float32),
        np.zeros((2, 3), dtype=object),
        np.zeros(6, dtype=np.uint8),
        np.asfortranarray(np.zeros((2, 3), dtype=np.uint8)),
        [[0, 1]],
        None,
    ],
)
def test_pixels_of_another_kind_are_refused(value: Any) -> None:
    with pytest.raises(UsageError, match="file must hold its pixels as a two-dimensional array of bytes"):
        pixels(unpickled(pickle.dumps(value, 4), "file"), "file")


def test_an_array_that_lies_about_its_shape_is_refused() -> None:
    buffer = io.BytesIO()
    pickle.Pickler(buffer, 4).dump(np.zeros((2, 3), dtype=np.uint8))
    data = buffer.getvalue()
    assert data.count(b"K\x02K\x03\x86") == 1
    lying = unpickled(data.replace(b"K\x02K\x03\x86", b"K\x63K\x63\x86"), "file")
    with pytest.raises(UsageError, match="cannot reshape array of size 6"):
        pixels(lying, "file")
