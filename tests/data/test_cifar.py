"""The files are written here in the published layouts; expected pixels are those that went in."""

import gzip
import io
import logging
import pickle
import struct
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from small_images import write_folder, write_tar

from distilnas.data.cifar import read_cifar
from distilnas.errors import UsageError

NAMES = [f"thing_{i}" for i in range(10)]
FINE, COARSE = [f"fine_{i}" for i in range(100)], [f"coarse_{i}" for i in range(20)]


def _planes(n: int, seed: int) -> np.ndarray:
    """(n, 3072): red, green and blue plane of each image."""
    return np.random.default_rng(seed).integers(0, 256, (n, 3072), dtype=np.uint8)


def _expected(planes: np.ndarray) -> np.ndarray:
    """(n, 32, 32, 3), pixel by pixel: value of channel c at (y, x) is at 1024 c + 32 y + x."""
    y, x, c = np.meshgrid(np.arange(32), np.arange(32), np.arange(3), indexing="ij")
    return planes[:, 1024 * c + 32 * y + x]


class _Python2(pickle._Pickler):
    """Writes as Python 2 and its numpy did: byte strings by an opcode of their own, numpy's old module name."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def _byte_string(self, value: bytes) -> None:
        self.write(b"T" + struct.pack("<i", len(value)) + value)  # type: ignore[attr-defined]
        self.memoize(value)  # type: ignore[attr-defined]

    dispatch[bytes] = _byte_string


def _python2(value: Any) -> bytes:
    buffer = io.BytesIO()
    _Python2(buffer, 2).dump(value)
    return buffer.getvalue().replace(b"numpy._core", b"numpy.core")


def _records(planes: np.ndarray, *labels: np.ndarray) -> bytes:
    return np.concatenate([*(column[:, None].astype(np.uint8) for column in labels), planes], axis=1).tobytes()


BATCHES = [(_planes(20, seed), np.arange(20) % 10) for seed in range(6)]


def _cifar10(binary: bool) -> dict[str, bytes]:
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    if binary:
        files = {f"{n}.bin": _records(planes, labels) for n, (planes, labels) in zip(names, BATCHES, strict=True)}
        return {**files, "batches.meta.txt": ("\n".join(NAMES) + "\n\n").encode()}
    files = {
        n: _python2({b"data": planes, b"labels": labels.tolist(), b"filenames": [b"x.png"], b"batch_label": b"1 of 5"})
        for n, (planes, labels) in zip(names, BATCHES, strict=True)
    }
    return {**files, "batches.meta": _python2({b"label_names": [n.encode() for n in NAMES], b"num_vis": 3072})}


def _cifar100(binary: bool) -> dict[str, bytes]:
    parts = {"train": (_planes(300, 7), np.arange(300) % 100), "test": (_planes(100, 8), np.arange(100))}
    if binary:
        files = {f"{n}.bin": _records(planes, fine // 5, fine) for n, (planes, fine) in parts.items()}
        texts = {"fine_label_names.txt": FINE, "coarse_label_names.txt": COARSE}
        return {**files, **{n: "\n".join(names).encode() for n, names in texts.items()}}
    files = {
        n: _python2({b"data": planes, b"fine_labels": fine.tolist(), b"coarse_labels": (fine // 5).tolist()})
        for n, (planes, fine) in parts.items()
    }
    names = {b"fine_label_names": [n.encode() for n in FINE], b"coarse_label_names": [n.encode() for n in COARSE]}
    return {**files, "meta": _python2(names)}


FOLDERS = {
    ("cifar10", True): "cifar-10-batches-bin",
    ("cifar10", False): "cifar-10-batches-py",
    ("cifar100", True): "cifar-100-binary",
    ("cifar100", False): "cifar-100-python",
}


def _written(path: Path, kind: str, binary: bool, place: str) -> Path:
    """The files as a folder, as a folder in a folder, or as the archive that is published."""
    files, name = (_cifar10 if kind == "cifar10" else _cifar100)(binary), FOLDERS[kind, binary]
    if place == "archive":
        return write_tar(path / f"{name}.tar.gz", {f"{name}/{file}": data for file, data in files.items()}, "w:gz")
    folder = write_folder(path / name, files)
    return folder if place == "folder" else path


@pytest.mark.parametrize("place", ["folder", "above", "archive"])
@pytest.mark.parametrize("binary", [True, False])
def test_cifar10_in_every_published_form(tmp_path: Path, binary: bool, place: str, caplog: Any) -> None:
    with caplog.at_level(logging.WARNING):
        data = read_cifar(_written(tmp_path, "cifar10", binary, place), "cifar10")
    assert data.test is not None
    assert data.train.classes == data.test.classes == tuple(NAMES)
    assert data.train.labels.tolist() == list(range(10)) * 10
    np.testing.assert_array_equal(data.train.images, _expected(np.concatenate([planes for planes, _ in BATCHES[:5]])))
    np.testing.assert_array_equal(data.test.images, _expected(BATCHES[5][0]))
    assert "has 100 training and 20 test images, not 50000 and 10000" in caplog.text


@pytest.mark.parametrize("place", ["folder", "above", "archive"])
@pytest.mark.parametrize("binary", [True, False])
def test_cifar100_in_every_published_form_fine_and_coarse(tmp_path: Path, binary: bool, place: str) -> None:
    path = _written(tmp_path, "cifar100", binary, place)
    fine, coarse = read_cifar(path, "cifar100"), read_cifar(path, "cifar100", label="coarse")
    assert (fine.train.classes, coarse.train.classes) == (tuple(FINE), tuple(COARSE))
    assert fine.train.labels.tolist() == list(range(100)) * 3
    assert coarse.train.labels.tolist() == [label // 5 for label in range(100)] * 3
    for data in (fine, coarse):
        assert data.test is not None
        np.testing.assert_array_equal(data.train.images, _expected(_planes(300, 7)))
        np.testing.assert_array_equal(data.test.images, _expected(_planes(100, 8)))


def test_both_forms_are_the_same_data(tmp_path: Path) -> None:
    forms = [read_cifar(_written(tmp_path / str(b), "cifar10", b, "folder"), "cifar10").train for b in (True, False)]
    assert forms[0].fingerprint() == forms[1].fingerprint()


def _message(path: Path, kind: str = "cifar10", **changes: Any) -> str:
    with pytest.raises(UsageError) as caught:
        read_cifar(path, kind, **changes)
    return str(caught.value)


def test_messages_for_wrong_places(tmp_path: Path) -> None:
    assert "must exist, got" in _message(tmp_path / "nowhere")
    assert "holds no files of cifar10. Give the official archive or the folder" in _message(tmp_path)
    (tmp_path / "x.tar.gz").write_bytes(b"no archive")
    assert "cannot be read" in _message(tmp_path / "x.tar.gz")
    other = _written(tmp_path, "cifar100", True, "archive")
    assert "holds no files of cifar10" in _message(other)
    assert "did you mean 'coarse'" in _message(other, "cifar100", label="course")


def test_an_archive_that_was_cut_off(tmp_path: Path) -> None:
    path = _written(tmp_path, "cifar10", True, "archive")
    path.write_bytes(path.read_bytes()[:-5000])
    assert "Download it again" in _message(path)
    raw = gzip.decompress(_written(tmp_path, "cifar10", False, "archive").read_bytes())
    (tmp_path / "plain.tar").write_bytes(raw[:100_000])
    assert "Download it again" in _message(tmp_path / "plain.tar")


@pytest.mark.parametrize("binary", [True, False])
def test_missing_files_are_named(tmp_path: Path, binary: bool) -> None:
    folder = _written(tmp_path, "cifar10", binary, "folder")
    ending = ".bin" if binary else ""
    (folder / f"data_batch_3{ending}").unlink()
    assert f"lacks data_batch_3{ending}. Unpack it again" in _message(folder)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("data_batch_2.bin", bytes(3073 * 4 - 1), "records of 3073 bytes, but has 12291 bytes"),
        ("data_batch_2.bin", b"", "records of 3073 bytes, but has 0 bytes"),
        ("test_batch.bin", b"\x0a" + bytes(3072), r"must lie in 0..9, found 0..10"),
        ("batches.meta.txt", b"a\nb\na\n", "names of the classes, each once"),
    ],
)
def test_damaged_binary_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    folder = _written(tmp_path, "cifar10", True, "folder")
    files = {name: content}
    if name == "test_batch.bin":
        files[name] += bytes(3073)
    write_folder(folder, files)
    assert message in _message(folder)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("data_batch_2", [1, 2], "must be a dict with data"),
        ("data_batch_2", {b"data": _planes(2, 0)}, "must be a dict with labels"),
        ("data_batch_2", {b"data": _planes(2, 0), b"labels": 5}, "labels in data_batch_2 must be a list, but is a int"),
        ("data_batch_2", {b"data": _planes(2, 0), b"labels": [1]}, "has 1 labels such as [1]"),
        ("data_batch_2", {b"data": _planes(1, 0), b"labels": [10**30]}, "a label, a whole number, for each image"),
        ("data_batch_2", {b"data": _planes(1, 0)[:, :99], b"labels": [1]}, "pixels of shape (1, 99)"),
        ("data_batch_2", {b"data": _planes(1, 0).astype(float), b"labels": [1]}, "two-dimensional array of bytes"),
        ("batches.meta", {b"label_names": b"airplane"}, "must be a list, but is a bytes"),
    ],
)
def test_damaged_python_files(tmp_path: Path, name: str, value: Any, message: str) -> None:
    folder = _written(tmp_path, "cifar10", False, "folder")
    write_folder(folder, {name: _python2(value)})
    assert message in _message(folder)


def test_a_malicious_batch_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    folder = _written(tmp_path, "cifar10", False, "folder")
    trace = tmp_path / "ran"
    write_folder(folder, {"test_batch": f"cos\nsystem\n(S'touch {trace}'\ntR.".encode()})
    assert "test_batch was refused: it names os.system" in _message(folder)
    assert not trace.exists()
