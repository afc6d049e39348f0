"""Data sets of one image format are written in each form that is read; pixels must come back."""

import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_images import pixels, png

from distilnas.data.huggingface import read_hf
from distilnas.data.imageset import ImageSet
from distilnas.errors import DistilnasError, UsageError

datasets = pytest.importorskip("datasets")

NAMES = ["cat", "dog", "eel"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parquet is converted into a folder of the test's own, and nothing asks the network."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("hf"))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def _rows(numbers: range, labels: Any = None, image: str = "image", label: str = "label", **more: Any) -> Any:
    """Image k is noise number k, of class k modulo 3."""
    kinds = {image: datasets.Image(), label: datasets.ClassLabel(names=NAMES)} if labels is None else None
    columns = {
        image: [{"bytes": png(k), "path": f"{k}.png"} for k in numbers],
        label: [k % 3 for k in numbers] if labels is None else labels,
    }
    features = kinds and datasets.Features({**kinds, **{key: datasets.Value("int64") for key in more}})
    return datasets.Dataset.from_dict({**columns, **more}, features=features)


def _numbers(images: ImageSet | None) -> list[int]:
    assert images is not None
    known = {pixels(number).tobytes(): number for number in range(100)}
    return [known[images.pil(i).tobytes()] for i in range(len(images))]


def _saved(path: Path, **splits: Any) -> str:
    datasets.DatasetDict(splits).save_to_disk(path / "saved")
    return str(path / "saved")


def test_saved_splits_parquet_and_a_single_saved_set(tmp_path: Path) -> None:
    train, test = _rows(range(12)), _rows(range(12, 18))
    parquet = tmp_path / "parquet"
    parquet.mkdir()
    train.to_parquet(parquet / "train-00000-of-00001.parquet")
    test.to_parquet(parquet / "test-00000-of-00001.parquet")
    train.save_to_disk(tmp_path / "single")
    whole = [read_hf(_saved(tmp_path, train=train, test=test)), read_hf(str(parquet))]
    single = read_hf(str(tmp_path / "single"))
    for data in [*whole, single]:
        assert data.train.classes == tuple(NAMES)
        assert data.train.labels.tolist() == [0, 1, 2] * 4
        assert _numbers(data.train) == list(range(12))
    assert single.test is None
    for data in whole:
        assert _numbers(data.test) == list(range(12, 18))
    assert len({data.train.fingerprint() for data in [*whole, single]}) == 1


def test_a_selection_that_was_saved(tmp_path: Path) -> None:
    _rows(range(20)).select([9, 3, 6, 1, 4, 7, 8, 2]).save_to_disk(tmp_path / "x")
    train = read_hf(str(tmp_path / "x")).train
    assert _numbers(train) == [9, 3, 6, 1, 4, 7, 8, 2]
    assert train.fingerprint() == train.decoded(1).fingerprint()


def test_columns_are_found_or_named(tmp_path: Path) -> None:
    path = _saved(tmp_path, train=_rows(range(9), image="img", label="fine", weight=list(range(9))))
    assert _numbers(read_hf(path).train) == list(range(9))
    two = _rows(range(9), image="img", label="fine").add_column("coarse", [k // 3 % 2 for k in range(9)])
    two = two.cast_column("coarse", datasets.ClassLabel(names=["small", "large"]))
    two.save_to_disk(tmp_path / "two")
    with pytest.raises(UsageError, match=r"one label column, but has 2 columns .*: fine, coarse\. Set label_key"):
        read_hf(str(tmp_path / "two"))
    assert read_hf(str(tmp_path / "two"), label_key="coarse").train.classes == ("small", "large")
    with pytest.raises(UsageError, match=r"no column 'corse'; did you mean 'coarse'\? Set label_key"):
        read_hf(str(tmp_path / "two"), label_key="corse")
    with pytest.raises(UsageError, match=r"no column 'image'; .*'img'\? Set image_key"):
        read_hf(str(tmp_path / "two"), label_key="coarse", image_key="image")
    two.remove_columns("img").save_to_disk(tmp_path / "none")
    with pytest.raises(UsageError, match="one image column, but has none that looks like it"):
        read_hf(str(tmp_path / "none"))
    with pytest.raises(UsageError, match=r"(?s)Column 'fine' of .* holds no encoded images"):
        read_hf(str(tmp_path / "none"), image_key="fine", label_key="coarse")


@pytest.mark.parametrize(
    ("labels", "classes"),
    [([10, 9] * 5, ("9", "10")), (["b", "a"] * 5, ("a", "b"))],
)
def test_labels_without_class_names(tmp_path: Path, labels: list, classes: tuple[str, ...]) -> None:
    """And images as plain bytes with a path, as files that other programs wrote have them."""
    _rows(range(10), labels).to_parquet(tmp_path / "x.parquet")
    train = read_hf(str(tmp_path)).train
    assert train.classes == classes
    assert train.labels.tolist() == [1, 0] * 5
    assert _numbers(train) == list(range(10))


def test_images_as_bare_bytes_and_as_files(tmp_path: Path) -> None:
    bare = datasets.Dataset.from_dict({"image": [png(k) for k in range(6)], "label": [0, 1] * 3})
    bare.to_parquet(tmp_path / "bare" / "x.parquet")
    for k in range(6):
        (tmp_path / f"{k}.png").write_bytes(png(k))
    paths = {"image": [{"bytes": None, "path": str(tmp_path / f"{k}.png")} for k in range(6)], "label": [0, 1] * 3}
    datasets.Dataset.from_dict(paths).to_parquet(tmp_path / "files" / "x.parquet")
    bare_set, file_set = read_hf(str(tmp_path / "bare")).train, read_hf(str(tmp_path / "files")).train
    assert _numbers(bare_set) == _numbers(file_set) == list(range(6))
    assert bare_set.fingerprint() == file_set.fingerprint()
    (tmp_path / "3.png").unlink()
    with pytest.raises(DistilnasError, match=r"3\.png is gone"):
        file_set.fingerprint()


def test_test_split_without_labels_is_passed_over(tmp_path: Path) -> None:
    unlabelled = _rows(range(20, 24), [-1] * 4).cast(_rows(range(3)).features)
    path = _saved(tmp_path, train=_rows(range(9)), test=unlabelled, validation=_rows(range(9, 15)))
    assert _numbers(read_hf(path).test) == list(range(9, 15))
    assert _numbers(read_hf(path, train_split="validation", test_split="train").test) == list(range(9))
    with pytest.raises(UsageError, match=r"Test images need labels; split test of .* has -1 for all"):
        read_hf(path, test_split="test")
    with pytest.raises(UsageError, match="Training images need labels"):
        read_hf(path, train_split="test")
    with pytest.raises(UsageError, match=r"no split 'vaildation'; did you mean 'validation'"):
        read_hf(path, test_split="vaildation")
    with pytest.raises(UsageError, match=r"no split 'trian'; did you mean 'train'"):
        read_hf(path, train_split="trian")


@pytest.mark.parametrize("wrong", [-1, None])
def test_single_images_without_a_label(tmp_path: Path, wrong: int | None) -> None:
    rows = _rows(range(6), [0, 1, wrong, 0, 1, 2])
    with pytest.raises(UsageError, match=f"has {wrong}"):
        read_hf(_saved(tmp_path / "plain", train=rows))
    with pytest.raises(UsageError, match=r"label of 0\.\.2; 1 of 6 in split train"):
        read_hf(_saved(tmp_path / "named", train=rows.cast(_rows(range(3)).features)))


def test_damaged_images_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = _rows(range(9)).to_dict()
    rows["image"][4]["bytes"] = rows["image"][4]["bytes"][:60]
    path = _saved(tmp_path, train=datasets.Dataset.from_dict(rows, features=_rows(range(1)).features))
    with caplog.at_level(logging.WARNING):
        train = read_hf(path, max_bad_share=0.2).train
    assert train.skipped == ("row 4",)
    assert _numbers(train) == [0, 1, 2, 3, 5, 6, 7, 8]


def test_wrong_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for path in (str(tmp_path / "nowhere"), "./cifar10", "../x"):
        with pytest.raises(UsageError, match="no such path"):
            read_hf(path)
    with pytest.raises(UsageError, match="For a folder of images set source=folder"):
        read_hf(str(tmp_path))
    (tmp_path / "train.parquet").write_bytes(b"no parquet")
    with pytest.raises(UsageError, match=r"The local data set .* cannot be loaded"):
        read_hf(str(tmp_path))


def test_names_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load(name: str) -> Any:
        asked.append(name)
        if name == "somebody/absent":
            raise ConnectionError("no way out")
        return datasets.DatasetDict(train=_rows(range(9)), test=_rows(range(9, 12)))

    monkeypatch.setattr(datasets, "load_dataset", load)
    data = read_hf("uoft-cs/cifar10")
    assert _numbers(data.test) == [9, 10, 11]
    assert data.train.name == "uoft-cs/cifar10 (train)"
    with pytest.raises(UsageError, match=r"hub \(there is no such path\) somebody/absent cannot be loaded: Connection"):
        read_hf("somebody/absent")
    assert asked == ["uoft-cs/cifar10", "somebody/absent"]


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UsageError, match=r"not installed: pip install 'distilnas\[hf\]'"):
        read_hf("cifar10")


def test_images_are_decoded_only_when_asked_for(tmp_path: Path) -> None:
    path = _saved(tmp_path, train=_rows(range(6)))
    images = read_hf(path, check="none").train
    assert not isinstance(images.images, np.ndarray)
    opened = images.images.open(0)
    assert (opened.format, opened.size) == ("PNG", (6, 6))
    assert getattr(opened, "_im", None) is None  # Pillow has read the header, not the pixels
