"""Array files: damaged bytes and foreign files are refused, and no pickle is ever loaded."""

import pickle

import numpy as np
import pytest

from distilnas.errors import UsageError
from distilnas.tables.files import read_arrays, write_arrays

ARRAYS = {"a/b": np.arange(50) ** 3, "c": np.linspace(0, 1, 6).reshape(2, 3)}


def read(path):
    return read_arrays(path, kind="costs", schema=1)


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.npz"
    write_arrays(path, ARRAYS, {"kind": "costs", "schema": 1, "x": [1]})
    return path


def test_round_trip(table):
    arrays, meta = read(table)
    assert meta == {"kind": "costs", "schema": 1, "x": [1]}
    np.testing.assert_equal(arrays, ARRAYS)


def test_every_cut_is_refused(table):
    data = table.read_bytes()
    for end in range(0, len(data), 7):
        table.write_bytes(data[:end])
        with pytest.raises(UsageError, match="run the step again"):
            read(table)


def test_another_file_is_refused_in_our_words(table):
    table.write_text("block,cell,path,rating\n")
    with pytest.raises(UsageError, match=r"it is no whole \.npz file\. If a step wrote it, delete it and run"):
        read(table)
    with pytest.raises(UsageError, match=r"there is no file .*/none\.npz\.$"):
        read(table.with_name("none.npz"))


def test_a_changed_byte_is_refused_or_harmless(table):
    """A zip checks the contents of its members; a byte outside them (a date, a flag) may change nothing."""
    arrays, meta = read(table)
    data = table.read_bytes()
    refused = 0
    for position in range(0, len(data), 3):
        table.write_bytes(data[:position] + bytes([data[position] ^ 0xFF]) + data[position + 1 :])
        try:
            again = read(table)
        except UsageError:
            refused += 1
        else:
            np.testing.assert_equal(again, (arrays, meta))
    assert refused > len(data) / 3 / 2


@pytest.mark.parametrize(("kind", "schema"), [("ratings", 1), ("costs", 2)])
def test_another_kind_or_schema_is_refused(table, kind, schema):
    with pytest.raises(UsageError, match=f"{kind} of schema {schema} are needed"):
        read_arrays(table, kind=kind, schema=schema)


class Touch:
    """Pickled, it makes a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_no_pickle_is_loaded(tmp_path):
    trace, path = tmp_path / "trace", tmp_path / "evil.npz"
    path.write_bytes(pickle.dumps(Touch(trace)))
    with pytest.raises(UsageError):
        read(path)
    np.savez(path, allow_pickle=True, **{"meta.json": np.array([Touch(trace)], dtype=object)})  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="allow_pickle"):
        read(path)
    assert not trace.exists()


def test_foreign_files_are_refused(tmp_path):
    np.save(tmp_path / "array.npy", np.arange(3))
    np.savez(tmp_path / "other.npz", a=np.arange(3))
    np.savez(tmp_path / "list.npz", **{"meta.json": np.frombuffer(b"[1]", np.uint8)})  # type: ignore[arg-type]
    for name in ("array.npy", "other.npz", "list.npz", "missing.npz"):
        with pytest.raises(UsageError, match=name):
            read(tmp_path / name)
