"""Images inside uncompressed tar files, read in any order with plain seeks; nothing is ever unpacked to disk.

A tar is read through once, header by header, for the place and length of its members. timm's tar readers share one
open archive and its WebDataset reader streams in the order of a shuffle buffer; here every access is independent, so
that a batch is a function of seed, epoch and index alone, in any thread, process or resumed run.
"""

import hashlib
import io
import logging
import os
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from PIL import Image

from distilnas.data.decoding import in_threads
from distilnas.data.readers import packed, unpacked
from distilnas.errors import DistilnasError, UsageError
from distilnas.files import write_bytes

logger = logging.getLogger(__name__)

_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_INDEX_FORM = 1  # to be raised when the meaning of a kept index changes


class Member(NamedTuple):
    """A regular file in a tar: its name, where its content begins in the tar file, and how many bytes it has."""

    name: str
    offset: int
    length: int


@dataclass(frozen=True, kw_only=True, eq=False)
class TarIndex:
    """The images of one tar file.

    names, labels: (n,) of :func:`~distilnas.data.readers.packed` text, what the images are called and what labels them.
    offsets, lengths: (n,) int64 bytes.
    """

    names: np.ndarray
    labels: np.ndarray
    offsets: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(cls, images: Sequence[Member], labels: Sequence[str]) -> "TarIndex":
        return cls(
            names=packed(image.name for image in images),
            labels=packed(labels),
            offsets=np.array([image.offset for image in images], dtype=np.int64),
            lengths=np.array([image.length for image in images], dtype=np.int64),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class TarReader:
    """Images in tar files below ``folder``. sources: (n,) int64, which of ``tars`` holds image i; else as TarIndex.

    A tar is opened for each access: that costs microseconds, forked workers share no file position, and thousands of
    shards need no thousands of open files.
    """

    folder: Path
    tars: tuple[str, ...]
    sources: np.ndarray
    names: np.ndarray
    offsets: np.ndarray
    lengths: np.ndarray

    @property
    def place(self) -> str:
        return self.folder.as_posix()

    def __len__(self) -> int:
        return len(self.names)

    def name_of(self, i: int) -> str:
        return f"{self.tars[self.sources[i]]}/{unpacked(self.names[i])}"

    def open(self, i: int) -> Image.Image:
        length = int(self.lengths[i])
        with (self.folder / self.tars[self.sources[i]]).open("rb") as file:
            file.seek(int(self.offsets[i]))
            content = file.read(length)
        if len(content) < length:
            raise EOFError(f"the tar file ends {length - len(content)} bytes before the image does")
        return Image.open(io.BytesIO(content))

    def sizes(self) -> np.ndarray:
        return self.lengths

    def subset(self, indices: np.ndarray) -> "TarReader":
        return replace(
            self,
            sources=self.sources[indices],
            names=self.names[indices],
            offsets=self.offsets[indices],
            lengths=self.lengths[indices],
        )


def read_tars(tars: Sequence[Path], kind: str, index: Callable[[Path], TarIndex]) -> tuple[TarReader, np.ndarray]:
    """The images of all tars, in the tars' order, and their packed labels (n,).

    index: makes the index of one tar. It is kept in the user's cache folder under the file's path, size and time of
    change and under ``kind``, which names what ``index`` does; the file there may be deleted at any time.
    """
    indexes = list(in_threads(lambda tar: _kept_index(tar, kind, index), tars))
    folder = Path(os.path.commonpath([tar.parent for tar in tars]))
    reader = TarReader(
        folder=folder,
        tars=tuple(tar.relative_to(folder).as_posix() for tar in tars),
        sources=np.repeat(np.arange(len(tars)), [len(found.names) for found in indexes]),
        names=np.concatenate([found.names for found in indexes]),
        offsets=np.concatenate([found.offsets for found in indexes]),
        lengths=np.concatenate([found.lengths for found in indexes]),
    )
    return reader, np.concatenate([found.labels for found in indexes])


def tar_members(tar: Path) -> list[Member]:
    """The regular files in an uncompressed tar and in the tars directly inside it, in their order.

    A member of an inner tar is named after it: ``cat.tar`` with ``1.jpg`` gives ``cat/1.jpg``. Links, folders and
    devices are left out.

    Raises ``UsageError`` for a file that is missing, compressed, no tar, damaged or cut off.
    """
    try:
        with tar.open("rb") as file:
            _refuse_compressed(tar, file)
            return list(_members(file, "", 0))
    except (tarfile.TarError, OSError) as error:
        raise UsageError(
            f"{tar} must be a complete tar file, but cannot be read: {error}. Check the spelling, or get it again."
        ) from error


def _refuse_compressed(tar: Path, file: IO[bytes]) -> None:
    start = file.read(6)
    file.seek(0)
    for magic, method in _COMPRESSED.items():
        if start.startswith(magic):
            raise UsageError(
                f"Images are read from tars in any order, which needs uncompressed ones; {tar} is compressed with "
                f"{method}. Decompress it once (JPEG and PNG hardly shrink anyway), or unpack it to a folder."
            )


def _members(file: IO[bytes], prefix: str, base: int) -> Iterator[Member]:
    with tarfile.open(fileobj=file, mode="r:") as archive:
        while (info := archive.next()) is not None:
            archive.members.clear()  # pyright: ignore  the archive would keep a kilobyte for every member
            if not info.isreg():
                continue
            if info.issparse():
                raise tarfile.ReadError(f"{info.name} is stored as a sparse file, which cannot be read in place")
            if info.name.endswith(".tar") and not prefix:
                inner = archive.extractfile(info)
                assert inner is not None
                yield from _members(inner, f"{info.name.removesuffix('.tar')}/", info.offset_data)
            else:
                yield Member(prefix + info.name, base + info.offset_data, info.size)
        _check_end(file, archive.offset)


def _check_end(file: IO[bytes], offset: int) -> None:
    """tarfile takes a damaged header for the end; a real end is a block of zeros or the end of the file."""
    file.seek(offset)
    if file.read(tarfile.BLOCKSIZE).strip(b"\0"):
        raise tarfile.ReadError(f"the header at byte {offset} is damaged")


def _kept_index(tar: Path, kind: str, index: Callable[[Path], TarIndex]) -> TarIndex:
    try:
        state = tar.stat()
    except OSError as error:
        raise UsageError(f"The tar file must exist, got {tar} ({error.strerror}). Check the spelling.") from error
    key = f"{_INDEX_FORM} {kind} {tar} {state.st_size} {state.st_mtime_ns}"
    kept = _cache_folder() / f"{hashlib.sha256(os.fsencode(key)).hexdigest()[:32]}.npz"
    try:
        with np.load(kept, allow_pickle=False) as arrays:
            return TarIndex(**arrays)
    except FileNotFoundError:
        pass
    except Exception as error:  # a damaged archive can raise almost anything
        logger.debug("the kept index %s is made again: %s", kept, error)
    found = index(tar)
    buffer = io.BytesIO()
    np.savez(buffer, **asdict(found))
    try:
        write_bytes(kept, buffer.getvalue())
    except DistilnasError as error:
        logger.debug("the index of %s is not kept: %s", tar, error)
    return found


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "distilnas" / "tars"
