import shutil
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from distilnas.data.folders import read_folder
from distilnas.data.imageset import ImageSet
from distilnas.errors import DistilnasError


def _in_memory(n: int = 6, side: int = 4) -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 256, (n, side, side, 3), dtype=np.uint8)
    return ImageSet(name="noise", classes=("a", "b"), labels=np.arange(n) % 2, images=pixels)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of three 5x4 PNG images, so that decoding is exact."""
    rng = np.random.default_rng(1)
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for i in range(3):
            pixels = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / name / f"{i}.png")
    return tmp_path / "pets"


def test_in_memory_access_and_subset() -> None:
    images = _in_memory()
    assert isinstance(images.images, np.ndarray)
    part = images.subset([5, 0])
    assert (len(part), part.labels.tolist(), part.classes) == (2, [1, 0], images.classes)
    np.testing.assert_array_equal(np.asarray(part.pil(0)), images.images[5])
    assert images.class_counts.tolist() == [3, 3]
    assert images.name_of(2) == "number 2 of noise"
    assert len(images.subset([])) == 0


def test_what_is_read_cannot_change_the_set() -> None:
    given = np.zeros(6, dtype=np.int64)
    images = ImageSet(name="x", classes=("a",), labels=given, images=np.zeros((6, 2, 2, 3), dtype=np.uint8))
    with pytest.raises(ValueError, match="read-only"):
        images.labels[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        images.raw(0)[0] = 1  # pyright: ignore
    with pytest.raises(FrozenInstanceError):
        images.name = "y"  # pyright: ignore
    given[0] = 0  # the caller's own array stays writable


def test_invalid_records_are_refused() -> None:
    pixels = np.zeros((2, 2, 2, 3), dtype=np.uint8)
    for labels in (np.array([0, 1]), np.array([0]), np.array([0, -1]), np.array([0, 0], dtype=np.int32)):
        with pytest.raises(AssertionError):
            ImageSet(name="x", classes=("a",), labels=labels, images=pixels)


def test_decoded_holds_the_same_pixels_and_fingerprint(folder: Path) -> None:
    on_disk = read_folder(folder)
    decoded = on_disk.decoded(limit_mb=1)
    assert isinstance(decoded.images, np.ndarray)
    assert decoded.images.shape == (6, 4, 5, 3)
    for i in range(6):
        np.testing.assert_array_equal(np.asarray(decoded.pil(i)), np.asarray(on_disk.pil(i)))
        assert decoded.name_of(i) == on_disk.name_of(i)
    assert decoded.fingerprint() == on_disk.fingerprint()
    assert decoded.subset([4, 1]).fingerprint() == on_disk.subset([4, 1]).fingerprint() != on_disk.fingerprint()
    assert decoded.decoded(limit_mb=1) is decoded


def test_decoded_stays_on_disk_when_too_large_or_of_mixed_size(folder: Path) -> None:
    images = read_folder(folder)
    exactly = 6 * 4 * 5 * 3 / 2**20
    assert images.decoded(limit_mb=exactly * 0.99) is images
    assert images.decoded(limit_mb=exactly) is not images
    Image.new("RGB", (5, 5)).save(folder / "dog" / "9.png")
    mixed = read_folder(folder)
    assert mixed.decoded(limit_mb=1) is mixed


def test_fingerprint_of_files_ignores_the_place_and_sees_content(folder: Path, tmp_path: Path) -> None:
    original = read_folder(folder).fingerprint()
    copy = Path(shutil.copytree(folder, tmp_path / "elsewhere" / "renamed"))
    assert read_folder(copy).fingerprint() == original
    with (copy / "cat" / "0.png").open("ab") as file:
        file.write(b"more")
    resized = read_folder(copy).fingerprint()
    (copy / "dog" / "0.png").rename(copy / "dog" / "8.png")
    assert len({original, resized, read_folder(copy).fingerprint()}) == 3


def test_fingerprint_of_pixels_sees_pixels_labels_and_classes() -> None:
    base = _in_memory()
    assert isinstance(base.images, np.ndarray)
    changed = base.images.copy()
    changed[0, 0, 0, 0] ^= 1
    variants = [
        base,
        ImageSet(name="x", classes=("a", "b"), labels=base.labels, images=changed),
        ImageSet(name="x", classes=("a", "b"), labels=1 - base.labels, images=base.images),
        ImageSet(name="x", classes=("a", "c"), labels=base.labels, images=base.images),
        ImageSet(name="x", classes=("a", "b"), labels=base.labels, images=base.images.reshape(6, 2, 8, 3)),
    ]
    assert len({variant.fingerprint() for variant in variants}) == len(variants)
    assert _in_memory().fingerprint() == base.fingerprint()


def test_a_file_that_went_missing_is_named(folder: Path) -> None:
    images = read_folder(folder)
    (folder / "cat" / "1.png").unlink()
    with pytest.raises(DistilnasError, match=r"cat/1\.png cannot be decoded"):
        images.pil(1)
    with pytest.raises(DistilnasError, match=r"cat/1\.png is gone"):
        images.fingerprint()
