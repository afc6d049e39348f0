"""The contract of every image reader, checked on one set of six images for each kind of storage."""

import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_images import class_files, write_folder, write_tar

from distilnas.data.folders import read_folder
from distilnas.data.imageset import ImageSet
from distilnas.data.loaders import make_loader
from distilnas.data.readers import ImageReader, packed, unpacked
from distilnas.data.synthetic import synthetic
from distilnas.data.tars import read_tar
from distilnas.data.transforms import Augmentation, Preprocessing, train_transform
from distilnas.data.webdataset import read_wds
from distilnas.errors import DistilnasError

FILES = class_files({"cat": 3, "dog": 3})


def _folder(path: Path) -> ImageSet:
    return read_folder(write_folder(path / "pets", FILES))


def _tar(path: Path) -> ImageSet:
    return read_tar(write_tar(path / "pets.tar", FILES)).train


def _shards(path: Path) -> ImageSet:
    names = list(FILES)
    for shard in range(2):
        samples = {f"{k}.png": FILES[names[k]] for k in range(3 * shard, 3 * shard + 3)}
        labels = {f"{k}.cls": str(k // 3).encode() for k in range(6)}
        write_tar(path / f"{shard}.tar", {**samples, **labels})
    return read_wds(path).train


def _rows(path: Path) -> ImageSet:
    datasets = pytest.importorskip("datasets")
    from distilnas.data.huggingface import read_hf

    rows = {"image": [{"bytes": content, "path": None} for content in FILES.values()], "label": [0, 0, 0, 1, 1, 1]}
    features = datasets.Features(image=datasets.Image(), label=datasets.ClassLabel(names=["cat", "dog"]))
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(path / "rows")
    return read_hf(str(path / "rows")).train


def _synthetic(path: Path) -> ImageSet:
    return synthetic(seed=0, images=6, classes=2, resolution=6)


@pytest.fixture(params=[_folder, _tar, _shards, _rows, _synthetic])
def images(request: pytest.FixtureRequest, tmp_path: Path) -> ImageSet:
    make: Callable[[Path], ImageSet] = request.param
    return make(tmp_path)


def _reader(images: ImageSet) -> ImageReader:
    assert not isinstance(images.images, np.ndarray)
    return images.images


def _pixels(images: ImageSet) -> list[bytes]:
    return [images.pil(i).tobytes() for i in range(len(images))]


def test_names_and_images_differ_and_sizes_are_those_of_the_files(images: ImageSet) -> None:
    reader = _reader(images)
    assert len(reader) == len(images) == len({reader.name_of(i) for i in range(6)}) == len(set(_pixels(images))) == 6
    assert (reader.sizes().dtype, reader.sizes().shape) == (np.int64, (6,))
    if images.name != "synthetic":
        assert reader.sizes().tolist() == [len(content) for content in FILES.values()]


def test_stored_pixels_come_back(images: ImageSet) -> None:
    if images.name != "synthetic":
        expected = [np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8) for number in range(6)]
        assert _pixels(images) == [array.tobytes() for array in expected]


def test_subset_keeps_order_and_names(images: ImageSet) -> None:
    part = images.subset([5, 0, 3])
    assert _pixels(part) == [_pixels(images)[i] for i in (5, 0, 3)]
    assert [part.name_of(k) for k in range(3)] == [images.name_of(i) for i in (5, 0, 3)]
    assert _reader(part).sizes().tolist() == _reader(images).sizes()[[5, 0, 3]].tolist()
    assert part.subset([1]).pil(0).tobytes() == images.pil(0).tobytes()
    assert len(images.subset([])) == 0


def test_threads_and_copies_read_the_same_in_any_order(images: ImageSet) -> None:
    expected = _pixels(images)
    order = np.random.default_rng(0).integers(0, 6, 300).tolist()
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda i: images.pil(i).tobytes(), order)) == [expected[i] for i in order]
    copy: ImageSet = pickle.loads(pickle.dumps(images))
    assert _pixels(copy) == expected


def test_batches_do_not_depend_on_workers_or_on_resuming(images: ImageSet) -> None:
    pre = Preprocessing(resolution=8, mean=(0.5,) * 3, std=(0.5,) * 3)
    transform = train_transform(pre, Augmentation(crop="padded", padding=2))
    settings: dict[str, Any] = {"batch_size": 2, "seed": 1, "epoch": 0, "shuffle": True, "drop_last": False}
    whole = list(make_loader(images, transform, **settings))
    for start, workers in [(0, 2), (1, 0), (1, 1)]:
        again = list(make_loader(images, transform, workers=workers, start_batch=start, **settings))
        assert len(again) == 3 - start
        for (batch, labels), (expected, expected_labels) in zip(again, whole[start:], strict=True):
            assert torch.equal(batch, expected)
            assert torch.equal(labels, expected_labels)


def test_fingerprint_is_kept_in_memory_and_sees_names_labels_and_order(images: ImageSet) -> None:
    decoded = images.decoded(limit_mb=1)
    assert isinstance(decoded.images, np.ndarray)
    assert decoded.name_of(4) == images.name_of(4)
    assert decoded.fingerprint() == images.fingerprint()
    variants = [images, images.subset([0, 1, 2]), images.subset([1, 0, 2, 3, 4, 5])]
    assert len({variant.fingerprint() for variant in variants}) == 3


def test_an_image_that_went_missing_is_named(tmp_path: Path) -> None:
    images = _tar(tmp_path)
    (tmp_path / "pets.tar").write_bytes((tmp_path / "pets.tar").read_bytes()[:700])
    with pytest.raises(DistilnasError, match=r"pets\.tar/dog/2\.png cannot be decoded \(EOFError: the tar file ends"):
        images.pil(5)
    (tmp_path / "pets.tar").unlink()
    with pytest.raises(DistilnasError, match=r"pets\.tar/cat/0\.png cannot be decoded \(FileNotFoundError"):
        images.pil(0)


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)))))
def test_packed_names_come_back(names: list[str]) -> None:
    assert [unpacked(name) for name in packed(names)] == names


def test_names_that_are_not_utf8_come_back() -> None:
    name = b"caf\xe9.png".decode("utf-8", "surrogateescape")  # as Python reports such a file of Latin-1 days
    assert unpacked(packed([name])[0]) == name
