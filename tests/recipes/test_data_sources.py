"""Each source of images, from its settings to the split sets of a run."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_images import class_files, png, write_folder, write_tar

from distilnas.data import DataSplits
from distilnas.errors import UsageError
from distilnas.recipes.images import describe_splits, load_splits
from distilnas.recipes.settings import DataSettings


@pytest.fixture(autouse=True)
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _load(seed: int = 0, **given: Any) -> tuple[DataSplits, DataSettings]:
    data = DataSettings(**given, validation=4)
    return load_splits(data, seed=seed, rating_images=4), data


def _folder(path: Path) -> dict[str, Any]:
    return {"path": str(write_folder(path / "photos", class_files({"a": 20, "b": 20}))), "check": "all"}


def _tar(path: Path) -> dict[str, Any]:
    train = write_tar(path / "a.tar", class_files({"a": 20, "b": 20}))
    return {"path": str(train), "test_path": str(write_tar(path / "b.tar", class_files({"a": 4, "b": 4})))}


def _wds(path: Path) -> dict[str, Any]:
    for shard in range(2):
        samples = {f"{k}.png": png(40 * shard + k) for k in range(20)}
        write_tar(path / f"{shard}.tar", samples | {f"{k}.json": b'{"kind": %d}' % (k % 2) for k in range(20)})
    return {"path": f"{path}/{{0..1}}.tar", "label_key": "kind"}


def _cifar100(path: Path) -> dict[str, Any]:
    names = "\n".join(f"group {i}" for i in range(20)).encode()
    records = [np.array([[k % 20, k % 100] + [k] * 3072 for k in range(n)], dtype=np.uint8) for n in (80, 20)]
    files = {"train.bin": records[0].tobytes(), "test.bin": records[1].tobytes(), "coarse_label_names.txt": names}
    return {"path": str(write_folder(path / "c100", files)), "label_key": "coarse"}


def _hf(path: Path) -> dict[str, Any]:
    datasets = pytest.importorskip("datasets")
    rows = {"img": [{"bytes": png(k), "path": None} for k in range(40)], "kind": [k % 2 for k in range(40)]}
    whole = datasets.Dataset.from_dict(rows)
    datasets.DatasetDict(good=whole, other=whole.select(range(8))).save_to_disk(path / "hf")
    keys = {"image_key": "img", "label_key": "kind", "train_split": "good", "test_split": "other"}
    return {"path": str(path / "hf"), **keys}


def _synthetic(path: Path) -> dict[str, Any]:
    return {"images": 40, "classes": 2}


@pytest.mark.parametrize(
    ("source", "write", "classes", "counts"),
    [  # of 40 images 4 are for validation and 4 for rating; without test images of its own a fifth is for the test
        ("folder", _folder, 2, [24, 4, 4, 8]),
        ("tar", _tar, 2, [32, 4, 4, 8]),
        ("wds", _wds, 2, [24, 4, 4, 8]),
        ("cifar100", _cifar100, 20, [72, 4, 4, 20]),
        ("hf", _hf, 2, [32, 4, 4, 8]),
        ("synthetic", _synthetic, 2, [24, 4, 4, 8]),
    ],
)
def test_every_source_gives_a_runs_sets(
    tmp_path: Path, source: str, write: Any, classes: int, counts: list[int]
) -> None:
    splits, data = _load(source=source, **write(tmp_path))
    found = describe_splits(splits, data)
    assert [found.counts[part] for part in ("train", "validation", "rating", "test")] == counts
    assert (len(found.classes), found.source) == (classes, source)
    elsewhere = _load(source=source, **write(tmp_path / "elsewhere"))
    assert found.fingerprint == describe_splits(*elsewhere).fingerprint


def test_synthetic_images_depend_on_the_runs_seed_and_have_the_settings_size() -> None:
    prints = []
    for seed in (0, 0, 1):
        splits, data = _load(seed, source="synthetic", images=60, resolution=48)
        assert splits.train.pil(0).size == (48, 48)
        assert len(splits.train.classes) == 10
        prints.append(describe_splits(splits, data).fingerprint)
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize("source", ["folder", "cifar10", "cifar100", "hf", "wds", "tar"])
def test_a_source_on_disk_needs_a_path(source: Any) -> None:
    with pytest.raises(UsageError, match=rf"data\.path is missing: data\.source={source} needs it"):
        DataSettings(source=source)


@pytest.mark.parametrize(
    ("given", "belongs"),
    [
        ({"source": "folder", "path": "x", "test_path": "y"}, "data.test_path belongs to data.source=wds or tar"),
        (
            {"source": "wds", "path": "x", "image_key": "y"},
            "data.image_key belongs to data.source=hf, but is given with",
        ),
        (
            {"source": "cifar10", "path": "x", "label_key": "y"},
            "label_key belongs to data.source=hf or wds or cifar100",
        ),
        ({"source": "tar", "path": "x", "train_split": "y"}, "data.train_split belongs to data.source=hf"),
        ({"source": "wds", "path": "x", "test_split": "y"}, "data.test_split belongs to data.source=hf"),
        ({"source": "digits", "images": 5}, "data.images belongs to data.source=synthetic"),
        ({"source": "digits", "classes": 5}, "data.classes belongs to data.source=synthetic"),
    ],
)
def test_settings_of_another_source_are_refused(given: dict[str, Any], belongs: str) -> None:
    with pytest.raises(UsageError) as caught:
        DataSettings(**given)
    assert belongs in str(caught.value)
