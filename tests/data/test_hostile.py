"""Folders and images as people have them: splits by any name, loops of links, what systems leave, bombs, photos."""

import logging
import os
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from distilnas.data import Preprocessing, decoding, eval_transform, read_folder, read_image_data, read_tar
from distilnas.data import names as known
from distilnas.data.decoding import problem, rgb_of, to_rgb
from distilnas.errors import DistilnasError, UsageError

CLASSES = ("cat", "dog")


def picture(path: Path, size: tuple[int, int] = (4, 4), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size).save(path)


def photos(root: Path, *, classes: tuple[str, ...] = CLASSES, number: int = 3) -> Path:
    for name in classes:
        for i in range(number):
            picture(root / name / f"{i}.png")
    return root


def tarred(folder: Path) -> Path:
    path = folder.parent / f"{folder.name}.tar"
    with tarfile.open(path, "w") as archive:
        archive.add(folder, folder.name)
    return path


@pytest.mark.parametrize(
    ("name", "part"),
    [
        *((n, "train") for n in ("train", "Training", "TRAIN", "train2017", "training_set", "train-images", "trn")),
        *(
            (n, "test")
            for n in ("test", "testing", "val", "valid", "Validation", "dev", "eval", "val_2012", "test_set")
        ),
        *((n, None) for n in ("trainer", "trains", "cat", "tests of speed", "valley", "device", "evaluator", "")),
    ],
)
def test_names_of_splits(name: str, part: str | None):
    assert known.part_of(name) == part


def test_test_sets_by_preference():
    assert known.tests_first(["dev", "val", "cat", "train", "Test", "validation"]) == [
        "Test",
        "val",
        "validation",
        "dev",
    ]


@pytest.mark.parametrize(
    "names", [("training", "testing"), ("Train", "VAL"), ("train_set", "dev"), ("train2017", "val2017")]
)
@pytest.mark.parametrize("read", [read_image_data, lambda path: read_tar(tarred(path))])
def test_splits_by_their_names(tmp_path: Path, names: tuple[str, str], read: Callable[[Path], Any]):
    photos(tmp_path / "data" / names[0], number=4)
    photos(tmp_path / "data" / names[1], number=2)
    splits = read(tmp_path / "data")
    assert splits.train.classes == CLASSES
    assert (len(splits.train), len(splits.test)) == (8, 4)


@pytest.mark.parametrize("names", [("part1", "part2"), ("fold_a", "fold_b"), ("a", "b", "c")])
@pytest.mark.parametrize("source", ["folder", "tar"])
def test_folders_of_the_same_classes_are_no_classes(tmp_path: Path, names: tuple[str, ...], source: str):
    for name in names:
        photos(tmp_path / "data" / name)
    read, path = (read_image_data, tmp_path / "data") if source == "folder" else (read_tar, tarred(tmp_path / "data"))
    with pytest.raises(UsageError, match=r"hold the same folders \(cat, dog\).*data\.layout=classes"):
        read(path)
    assert read(path, layout="classes").train.classes == names


def test_most_classes_in_common_are_enough(tmp_path: Path):
    photos(tmp_path / "data" / "old", classes=("cat", "dog", "cow", "hen"))
    photos(tmp_path / "data" / "new", classes=("cat", "dog", "owl"))
    with pytest.raises(UsageError, match="hold the same folders"):
        read_image_data(tmp_path / "data")


def test_one_common_folder_is_a_habit(tmp_path: Path):
    for name in CLASSES:
        photos(tmp_path / "data" / name, classes=("images",))
    assert read_image_data(tmp_path / "data").train.classes == CLASSES


def test_images_beside_the_folders_are_classes(tmp_path: Path):
    for name in CLASSES:
        photos(tmp_path / "data" / name, classes=("2019", "2020"))
        picture(tmp_path / "data" / name / "x.png")
    assert len(read_image_data(tmp_path / "data").train) == 14


def test_two_training_folders_are_refused(tmp_path: Path):
    for name in ("train", "training", "test"):
        photos(tmp_path / "data" / name)
    with pytest.raises(UsageError, match="several training folders"):
        read_image_data(tmp_path / "data")


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("cat/loop", ".."),
        ("cat/deep/loop", "../.."),
        ("loop", "."),
        ("loop", ".."),
        ("cat/other", "../dog"),
        ("cat/self", "self"),
    ],
)
def test_links_to_what_is_read_already_are_left_out(
    tmp_path: Path, link: str, target: str, caplog: pytest.LogCaptureFixture
):
    root = photos(tmp_path / "around" / "photos")
    (root / link).parent.mkdir(exist_ok=True)
    (root / link).symlink_to(target)
    with caplog.at_level(logging.WARNING):
        images = read_folder(root)
    assert images.classes == CLASSES
    assert images.class_counts.tolist() == [3, 3]
    assert ("is left out: it is a link to" in caplog.text) is (target != "self")


def test_links_to_other_places_are_followed_once(tmp_path: Path):
    root, elsewhere = photos(tmp_path / "photos"), photos(tmp_path / "more", classes=("new",))
    for name in ("first", "second"):
        (root / "cat" / name).symlink_to(elsewhere / "new")
    (root / "owl").symlink_to(photos(tmp_path / "birds", classes=("owl",)) / "owl")
    (root / "zcat").symlink_to(root / "cat")  # the same images as another class
    images = read_folder(root)
    assert images.classes == ("cat", "dog", "owl")
    assert images.class_counts.tolist() == [6, 3, 3]


@pytest.mark.parametrize(
    "name", ["__MACOSX", ".ipynb_checkpoints", "@eaDir", "$RECYCLE.BIN", "lost+found", "Thumbs.db"]
)
@pytest.mark.parametrize("read", [read_image_data, lambda path: read_tar(tarred(path))])
def test_what_systems_leave_behind(tmp_path: Path, name: str, read: Callable[[Path], Any]):
    root = photos(tmp_path / "data")
    for place in (root / name, root / "cat" / name):
        picture(place / "a.png")
    for file in (".DS_Store", "Thumbs.db", "desktop.ini", "._a.png"):
        if file != name:
            (root / file).touch()
            (root / "cat" / file).touch()
    train = read(root).train
    assert (train.classes, len(train)) == (CLASSES, 6)
    assert known.is_hidden(name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path):
    root = photos(tmp_path / "data")
    (root / "cat" / "locked").mkdir(mode=0)
    with pytest.raises(UsageError, match="locked cannot be listed"):
        read_folder(root)


def test_large_images_are_damaged_unless_allowed(tmp_path: Path):
    root = photos(tmp_path / "data", number=30)
    picture(root / "cat" / "big.png", (200, 200))
    assert read_folder(root, max_pixels=39_999).skipped == ("cat/big.png",)
    assert len(read_folder(root, max_pixels=40_000)) == 61
    unchecked = read_folder(root, max_pixels=39_999, check="none")
    with pytest.raises(DistilnasError, match="200 x 200 pixels, more than max_pixels"):
        unchecked.pil(unchecked.labels.tolist().index(0) + 30)
    for i in range(5):
        picture(root / "dog" / f"big{i}.png", (200, 200))
    with pytest.raises(UsageError, match=r"raise data\.max_pixels"):
        read_folder(root, max_pixels=39_999)


def test_a_bomb_is_not_decoded(tmp_path: Path):
    """13,300 x 13,300 pixels of one colour take 21 kB as a file and half a gigabyte in memory."""
    Image.new("1", (13_300, 13_300)).save(tmp_path / "bomb.png")
    why = problem(lambda: Image.open(tmp_path / "bomb.png"))
    assert "max_pixels = 89,478,485" in str(why)
    Image.new("1", (1, 100_000)).save(tmp_path / "thin.png")
    assert "differ more than 250 times" in str(problem(lambda: Image.open(tmp_path / "thin.png")))


def test_large_images_are_decoded_one_at_a_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(decoding, "_BIG", 10)
    at_once, most, lock = [0], [0], threading.Lock()

    def slow(image: Image.Image) -> Image.Image:
        with lock:
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
        threading.Event().wait(0.02)
        with lock:
            at_once[0] -= 1
        return image

    monkeypatch.setattr(decoding, "to_rgb", slow)
    list(decoding.in_threads(lambda side: rgb_of(lambda: Image.new("RGB", (side, side))), [4] * 8))
    assert most[0] == 1
    list(decoding.in_threads(lambda side: rgb_of(lambda: Image.new("RGB", (side, side))), [3] * 8))
    assert most[0] > 1


def test_images_of_other_sizes_are_not_decoded_for_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = photos(tmp_path / "data")
    picture(root / "dog" / "0.png", (300, 300))
    images = read_folder(root)
    opened = []
    decode = decoding.to_rgb
    monkeypatch.setattr(decoding, "to_rgb", lambda image: opened.append(image.size) or decode(image))
    assert images.decoded(1000) is images
    assert (300, 300) not in opened


def _exif(image: Image.Image) -> Image.Image:
    image.getexif()[0x0112] = 6
    return image


GRAY = np.arange(48 * 40, dtype=np.uint16).reshape(48, 40) * 34
PHOTOS = {
    "gray": Image.fromarray((GRAY // 257).astype(np.uint8)),
    "gray 16 bit": Image.fromarray(GRAY),
    "palette": Image.fromarray((GRAY // 257).astype(np.uint8)).convert("P"),
    "cmyk": Image.fromarray(np.stack([(GRAY // 257).astype(np.uint8)] * 3, 2)).convert("CMYK"),
    "alpha": Image.fromarray(np.stack([(GRAY // 257).astype(np.uint8)] * 4, 2)),
    "gray and alpha": Image.fromarray((GRAY // 257).astype(np.uint8)).convert("LA"),
    "black and white": Image.fromarray(GRAY > 20_000),
}


@pytest.mark.parametrize("kind", PHOTOS)
def test_evaluation_takes_photos_of_any_kind_as_training_does(kind: str):
    transform = eval_transform(Preprocessing(resolution=32))
    expected = transform(to_rgb(PHOTOS[kind]))
    assert transform(PHOTOS[kind]).equal(expected)
    assert expected.shape == (3, 32, 32)


def test_evaluation_turns_photos_upright(tmp_path: Path):
    turned = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 48, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.png", exif=exif)
    transform = eval_transform(Preprocessing(resolution=32))
    with Image.open(tmp_path / "turned.png") as image:
        assert transform(image).equal(transform(turned.transpose(Image.Transpose.ROTATE_270)))


@pytest.mark.parametrize(
    "array", [GRAY // 257, (GRAY // 257).astype(np.uint8), np.stack([(GRAY // 257).astype(np.uint8)] * 4, 2)]
)
def test_evaluation_takes_arrays_of_other_shapes(array: np.ndarray):
    transform = eval_transform(Preprocessing(resolution=32))
    assert transform(array).equal(transform(to_rgb(Image.fromarray(array))))
