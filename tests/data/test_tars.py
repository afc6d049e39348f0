"""What a tar of class folders gives is compared with the image folder that it unpacks to."""

import tarfile
from pathlib import Path

import pytest
from small_images import class_files, png, write_folder, write_tar

from distilnas.data.folders import read_image_data
from distilnas.data.imageset import ImageSet
from distilnas.data.tars import read_tar
from distilnas.errors import UsageError


def _listed(images: ImageSet | None) -> list[tuple[str, bytes]]:
    assert images is not None
    return [(images.classes[label], images.pil(i).tobytes()) for i, label in enumerate(images.labels)]


CLASSES = {"10": 3, "2": 2, "b-1": 4, "b": 2}


@pytest.mark.parametrize("prefix", ["", "./", "top/", "top/deeper/"])
@pytest.mark.parametrize("test", [None, "test", "val", "Validation"])
def test_as_the_unpacked_folder(tmp_path: Path, prefix: str, test: str | None) -> None:
    files = class_files(CLASSES, f"{prefix}train/" if test else prefix)
    if test:
        files |= class_files({"b": 1, "2": 2}, f"{prefix}{test}/")
    tar = write_tar(tmp_path / "x.tar", dict(reversed(files.items())))
    found, expected = read_tar(tar), read_image_data(write_folder(tmp_path / "folder", files) / prefix)
    assert found.train.classes == expected.train.classes == ("10", "2", "b", "b-1")
    assert _listed(found.train) == _listed(expected.train)
    assert (found.test is None) == (test is None)
    if test:
        assert _listed(found.test) == _listed(expected.test)


def test_train_folder_alone_and_further_folders(tmp_path: Path) -> None:
    files = class_files({"a": 2, "b/deeper": 2}, "train/") | {
        "train/a/.hidden.png": b"",
        "train/read.me": b"",
        "x.png": b"",
    }
    data = read_tar(write_tar(tmp_path / "x.tar", {name: c for name, c in files.items() if name != "x.png"}))
    assert (data.train.classes, data.train.class_counts.tolist(), data.test) == (("a", "b"), [2, 2], None)


def test_a_class_called_train_is_a_class(tmp_path: Path) -> None:
    assert read_tar(write_tar(tmp_path / "x.tar", class_files({"bus": 2, "train": 2}))).train.classes == (
        "bus",
        "train",
    )


def test_images_outside_class_folders_do_not_count(tmp_path: Path) -> None:
    files = class_files({"a": 2, "b": 2}) | {"loose.png": png(9)}
    assert len(read_tar(write_tar(tmp_path / "x.tar", files)).train) == 4


def test_tars_of_classes_inside_a_tar(tmp_path: Path) -> None:
    """The form of ImageNet's training archive: n01440764.tar and so on, each with the images of one class."""
    inner = [write_tar(tmp_path / f"n{k}.tar", {f"n{k}_{i}.JPEG": png(3 * k + i) for i in range(3)}) for k in range(2)]
    outer = write_tar(tmp_path / "train.tar", {file.name: file.read_bytes() for file in inner})
    train = read_tar(outer).train
    assert train.classes == ("n0", "n1")
    expected = class_files({"n0": 3, "n1": 3})
    folder = read_image_data(write_folder(tmp_path / "folder", expected)).train
    assert _listed(train) == _listed(folder)


def test_a_test_tar_of_its_own(tmp_path: Path) -> None:
    train = write_tar(tmp_path / "train.tar", class_files({"a": 2, "b": 2}))
    test = write_tar(tmp_path / "val.tar", class_files({"b": 1}))
    found = read_tar(train, test_path=test).test
    assert found is not None
    assert (found.classes, found.labels.tolist()) == (("a", "b"), [1])
    both = write_tar(tmp_path / "both.tar", class_files({"a": 2, "b": 2}, "train/") | class_files({"a": 1}, "val/"))
    with pytest.raises(UsageError, match="Test images are given twice: inside"):
        read_tar(both, test_path=test)
    other = write_tar(tmp_path / "other.tar", class_files({"c": 1, "d": 1}))
    with pytest.raises(UsageError, match="that are not: c, d"):
        read_tar(train, test_path=other)


def test_damaged_images_are_left_out(tmp_path: Path) -> None:
    files = class_files({"a": 20, "b": 20})
    tar = write_tar(tmp_path / "x.tar", {**files, "a/7.png": files["a/7.png"][:60]})
    assert read_tar(tar).train.skipped == ("x.tar/a/7.png",)
    assert read_tar(tar, check="none").train.skipped == ()
    with pytest.raises(UsageError, match=r"1 of 40 images in .* x\.tar/a/7\.png \(OSError"):
        read_tar(tar, max_bad_share=0.02)


def test_messages(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="1 images, none of them in a class folder"):
        read_tar(write_tar(tmp_path / "flat.tar", {"a.png": png(0)}))
    with pytest.raises(UsageError, match="0 images, none of them in a class folder"):
        read_tar(write_tar(tmp_path / "empty.tar", {"a/b.txt": b""}))
    with pytest.raises(UsageError, match=r"at least two classes; .* has only a"):
        read_tar(write_tar(tmp_path / "one.tar", class_files({"a": 3})))
    with pytest.raises(UsageError, match=r"must exist, got .*nowhere\.tar"):
        read_tar(tmp_path / "nowhere.tar")
    with pytest.raises(UsageError, match="must be a complete tar file"):
        read_tar(tmp_path)


def test_nothing_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tar = write_tar(tmp_path / "data" / "x.tar", class_files({"/abs/a": 2, "/abs/b": 2, "../../escaped": 2}))
    for name in ("extract", "extractall", "_extract_member"):
        monkeypatch.delattr(tarfile.TarFile, name)
    assert len(read_tar(tar).train) == 4
    assert sorted(file.name for file in tmp_path.rglob("*")) == ["data", "x.tar"]
