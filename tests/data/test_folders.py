import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from distilnas.data.folders import read_folder, read_image_data
from distilnas.errors import UsageError


def _fill(folder: Path, counts: dict[str, int], suffix: str = "png") -> Path:
    for name, n in counts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            Image.new("RGB", (4, 4), (i, 0, 0)).save(folder / name / f"{i}.{suffix}")
    return folder


def test_classes_files_and_labels_are_in_order(tmp_path: Path) -> None:
    _fill(tmp_path, {"b": 2, "a": 3})
    _fill(tmp_path / "a" / "deeper", {"still": 1}, "JPG")
    (tmp_path / "a" / "notes.txt").write_text("not an image")
    (tmp_path / "a" / "._0.png").write_text("a resource fork")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "loose.png").write_bytes(b"")
    images = read_folder(tmp_path)
    assert images.classes == ("a", "b")
    names = [images.name_of(i) for i in range(len(images))]
    assert names == ["a/0.png", "a/1.png", "a/2.png", "a/deeper/still/0.JPG", "b/0.png", "b/1.png"]
    assert images.labels.tolist() == [0, 0, 0, 0, 1, 1]
    assert (images.name, images.skipped) == (tmp_path.name, ())
    np.testing.assert_array_equal(np.asarray(images.pil(2))[0, 0], [2, 0, 0])


def test_files_are_in_the_order_of_their_paths(tmp_path: Path) -> None:
    """Part by part, as ``pathlib`` sorts: a folder ``b`` before a file ``b.png``, although "." sorts before "/"."""
    for folder in ("a", "a/b", "a/b-1", "z"):
        _fill(tmp_path / folder, {".": 1})
    for name in ("a/b.png", "a/b/c.png", "a/b-1/c.png"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    images = read_folder(tmp_path)
    names = [Path(images.name_of(i)) for i in range(len(images))]
    assert names == sorted(names)
    assert Path("a/b/c.png") in names


@pytest.mark.parametrize("test_name", ["test", "val", "valid", "validation", "Test"])
def test_layout_with_train_and_test(tmp_path: Path, test_name: str) -> None:
    _fill(tmp_path / "train", {"a": 2, "b": 2})
    _fill(tmp_path / test_name, {"a": 1, "b": 3})
    data = read_image_data(str(tmp_path))
    assert data.test is not None
    assert (len(data.train), len(data.test)) == (4, 4)
    assert data.test.name == f"{tmp_path.name}/{test_name}"


def test_layout_with_classes_only_even_if_one_is_called_train(tmp_path: Path) -> None:
    _fill(tmp_path, {"bus": 2, "train": 2})
    data = read_image_data(tmp_path)
    assert data.test is None
    assert data.train.classes == ("bus", "train")


def test_train_folder_alone_and_two_test_folders(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _fill(tmp_path / "train", {"a": 2, "b": 2})
    assert read_image_data(tmp_path).test is None
    _fill(tmp_path / "val", {"a": 1})
    _fill(tmp_path / "test", {"b": 1})
    data = read_image_data(tmp_path)
    assert data.test is not None
    assert data.test.name.endswith("/test")
    assert "not used: val" in caplog.text


def test_test_labels_are_numbered_as_the_training_classes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _fill(tmp_path / "train", {"a": 2, "b": 2, "c": 2})
    _fill(tmp_path / "test", {"c": 2, "b": 1, "without_images": 0})
    test = read_image_data(tmp_path).test
    assert test is not None
    assert test.classes == ("a", "b", "c")
    assert test.labels.tolist() == [1, 2, 2]
    assert "no images of 1 training classes: a" in caplog.text


def test_bad_images_are_skipped_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _fill(tmp_path, {"a": 20, "b": 20})
    (tmp_path / "a" / "3.png").write_bytes((tmp_path / "a" / "3.png").read_bytes()[:40])
    (tmp_path / "b" / "7.png").write_text("no image")
    with caplog.at_level(logging.WARNING):
        images = read_folder(tmp_path, max_bad_share=0.05)  # 2 of 40 is exactly the limit
    assert images.skipped == ("a/3.png", "b/7.png")
    assert images.class_counts.tolist() == [19, 19]
    assert "2 of 40 images" in caplog.text
    assert "a/3.png (" in caplog.text
    with pytest.raises(UsageError, match=r"At most 4% .* 2 of 40 images .* b/7\.png \(UnidentifiedImageError"):
        read_folder(tmp_path, max_bad_share=0.04)


def test_messages_for_wrong_folders(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"must exist, got .*nowhere"):
        read_folder(tmp_path / "nowhere")
    (tmp_path / "archive.zip").write_bytes(b"")
    with pytest.raises(UsageError, match="got the file"):
        read_folder(tmp_path / "archive.zip")
    with pytest.raises(UsageError, match=r"has no subfolders\. Sort"):
        read_folder(tmp_path)
    Image.new("RGB", (2, 2)).save(tmp_path / "x.png")
    with pytest.raises(UsageError, match="but 1 images directly in it"):
        read_image_data(tmp_path)
    (tmp_path / "a").mkdir()
    with pytest.raises(UsageError, match=r"hold no images; they have a\. Files must end in"):
        read_folder(tmp_path)


def test_messages_for_folders_that_cannot_be_trained_on(tmp_path: Path) -> None:
    _fill(tmp_path / "one", {"a": 3})
    with pytest.raises(UsageError, match=r"at least two classes; .* has only a"):
        read_image_data(tmp_path / "one")
    _fill(tmp_path / "few", {"a": 3, "b": 1, "c": 0})
    with pytest.raises(UsageError, match=r"at least 2 readable training images; .*: b \(1\), c \(0\)"):
        read_image_data(tmp_path / "few")
    _fill(tmp_path / "no_train" / "test", {"a": 3})
    with pytest.raises(UsageError, match="test needs train beside it"):
        read_image_data(tmp_path / "no_train")
    _fill(tmp_path / "unknown" / "train", {"a": 2, "b": 2})
    _fill(tmp_path / "unknown" / "test", {"a": 2, "x": 2, "y": 2})
    with pytest.raises(UsageError, match=r"has 2 that are not: x, y\. Training classes: a, b"):
        read_image_data(tmp_path / "unknown")


def test_long_lists_are_cut(tmp_path: Path) -> None:
    _fill(tmp_path, {f"c{i}": 1 for i in range(8)})
    with pytest.raises(UsageError, match=r"c4 \(1\) and 3 more"):
        read_image_data(tmp_path)
