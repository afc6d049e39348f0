import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from small_images import pixels, png, write_tar

from distilnas.data.imageset import ImageSet
from distilnas.data.webdataset import read_wds
from distilnas.errors import UsageError


def _shard(path: Path, labels: Mapping[int, object], ending: str = "cls") -> Path:
    """A sample for each number: the image with this number and its label."""
    files = {}
    for number, label in labels.items():
        files[f"{number:05d}.{ending}"] = (str(label) if ending == "cls" else json.dumps(label)).encode()
        files[f"{number:05d}.png"] = png(number)
    return write_tar(path, files)


def _labels(images: ImageSet | None) -> list[str]:
    assert images is not None
    return [images.classes[label] for label in images.labels]


def _numbers(images: ImageSet) -> list[int]:
    """Which of the first hundred images these are, by their pixels."""
    known = {pixels(number).tobytes(): number for number in range(100)}
    return [known[images.pil(i).tobytes()] for i in range(len(images))]


def test_classes_by_number_and_images_in_the_shards_order(tmp_path: Path) -> None:
    _shard(tmp_path / "b.tar", {7: 10, 3: 9})
    _shard(tmp_path / "a.tar", {5: 9, 1: 10, 2: "2 \n", 4: 2})
    train = read_wds(tmp_path).train
    assert train.classes == ("2", "9", "10")
    assert _labels(train) == ["9", "10", "2", "2", "10", "9"]
    assert _numbers(train) == [5, 1, 2, 4, 7, 3]
    assert train.name_of(0) == "a.tar/00005.png"


def test_labels_from_json(tmp_path: Path) -> None:
    samples = {k: {"label": k % 2, "kind": f"kind {k % 3}", "deep": {}, "yes": True} for k in range(12)}
    pattern = str(_shard(tmp_path / "x.tar", samples, "json"))
    assert _labels(read_wds(pattern).train) == [str(k % 2) for k in range(12)]
    assert _labels(read_wds(pattern, label_key="kind").train) == [f"kind {k % 3}" for k in range(12)]
    for key, has in [("absent", "has label, kind, deep, yes"), ("deep", "needs deep"), ("yes", "needs yes")]:
        with pytest.raises(UsageError, match=rf"00000\.json cannot be read: .*{has}"):
            read_wds(pattern, label_key=key)


@pytest.mark.parametrize("order", [1, -1])
def test_cls_goes_before_json_unless_a_key_is_given(tmp_path: Path, order: int) -> None:
    files = {}
    for k in range(4):
        both = {f"{k}.cls": f"c{k % 2}".encode(), f"{k}.json": json.dumps({"label": f"j{k % 2}"}).encode()}
        files |= {f"{k}.jpg": png(k), **dict(list(both.items())[::order])}
    tar = write_tar(tmp_path / "x.tar", files)
    assert _labels(read_wds(tar).train) == ["c0", "c1"] * 2
    assert _labels(read_wds(tar, label_key="label").train) == ["j0", "j1"] * 2


def test_keys_end_at_the_first_dot_and_differ_by_folder(tmp_path: Path) -> None:
    files = {}
    for k in range(4):
        files |= {f"v1.0/{k}.PNG": png(k), f"v1.0/{k}.cls": b"a", f"w/{k}.png": png(9 - k), f"w/{k}.cls": b"b"}
        files |= {f"w/{k}.mask.png": b"not looked at", f"w/{k}.txt": b"text"}
    train = read_wds(write_tar(tmp_path / "x.tar", files)).train
    assert _labels(train) == ["a", "b"] * 4
    assert _numbers(train) == [0, 9, 1, 8, 2, 7, 3, 6]


def _eleven(folder: Path) -> None:
    for shard in range(11):
        _shard(folder / f"train-{shard:03d}.tar", {2 * shard: 0, 2 * shard + 1: 1})


@pytest.mark.parametrize(
    ("pattern", "numbers"),
    [
        ("train-{000..010}.tar", list(range(22))),
        ("train-{009..010}.tar", [18, 19, 20, 21]),
        ("train-0{07,02}.tar", [14, 15, 4, 5]),
        ("train-0{0{1..2},10}.tar", [2, 3, 20, 21, 4, 5]),
        ("train-00[34].tar", [6, 7, 8, 9]),
        ("train-00{4,?}.tar", [8, 9, *range(8), *range(10, 20)]),
        ("*-{001,01?}.tar", [2, 3, 20, 21]),
    ],
)
def test_patterns(tmp_path: Path, pattern: str, numbers: list[int]) -> None:
    _eleven(tmp_path)
    assert _numbers(read_wds(tmp_path / pattern).train) == numbers


def test_missing_shards_are_named(tmp_path: Path) -> None:
    _eleven(tmp_path)
    with pytest.raises(UsageError, match=r"2 of 13 do not: .*train-011\.tar, .*train-012\.tar"):
        read_wds(tmp_path / "train-{000..012}.tar")
    with pytest.raises(UsageError, match=r"none matches .*valid-\*\.tar"):
        read_wds(tmp_path / "valid-*.tar")
    with pytest.raises(UsageError, match="must lie on disk"):
        read_wds("https://example.org/train-{00..10}.tar")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x.tar.gz").write_bytes(b"")
    with pytest.raises(UsageError, match=r"has none, but x\.tar\.gz\. Decompress"):
        read_wds(tmp_path / "other")


def test_test_shards_by_folder_by_name_and_by_setting(tmp_path: Path) -> None:
    train, test = {k: k % 2 for k in range(6)}, {6: 1, 7: 0}
    _shard(tmp_path / "folders" / "train" / "0.tar", train)
    _shard(tmp_path / "folders" / "validation" / "0.tar", test)
    for name in ("imagenet1k-train-0000.tar", "imagenet1k-validation-0000.tar"):
        _shard(tmp_path / "names" / name, train if "train" in name else test)
    _shard(tmp_path / "apart" / "trainstation.tar", train)
    _shard(tmp_path / "other.tar", test)
    found = [
        read_wds(tmp_path / "folders"),
        read_wds(tmp_path / "names"),
        read_wds(tmp_path / "apart", test_path=tmp_path / "other.tar"),
    ]
    for data in found:
        assert _numbers(data.train) == list(range(6))
        assert _labels(data.test) == ["1", "0"]
    assert read_wds(tmp_path / "apart").test is None
    with pytest.raises(UsageError, match="Test shards are given twice"):
        read_wds(tmp_path / "names", test_path=tmp_path / "other.tar")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"0.png": b"", "0.cls": b"1", "1.png": b""}, r"has 2 images, without a label: 1\.png"),
        ({"0.txt": b"", "0.cls": b"1"}, "has 0 images, without a label: none"),
        ({"0.png": b"", "0.jpg": b"", "0.cls": b"1"}, r"one image; in .* 0 has 0\.png and 0\.jpg"),
        ({"0.png": b"", "0.cls": b""}, r"0\.cls has ''"),
        ({"0.png": b"", "0.cls": b"-1"}, r"0\.cls has '-1'\. Leave unlabelled"),
        ({"0.png": b"", "0.cls": b"\xff\xfe"}, r"0\.cls cannot be read: 'utf-8'"),
        ({"0.png": b"", "0.json": b"{"}, r"0\.json cannot be read"),
        ({"0.png": b"", "0.json": b"[1]"}, r"0\.json cannot be read: .* no entries but b'\[1\]'"),
        ({"0.png": b"", "0.cls": bytes(2**20 + 1)}, r"0\.cls is no label: it has 1048577 bytes"),
    ],
)
def test_bad_samples_are_named(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_wds(write_tar(tmp_path / "x.tar", files))


def test_compressed_shards_and_damaged_images(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"x\.tar\.gz is compressed with gzip"):
        read_wds(write_tar(tmp_path / "x.tar.gz", {"0.png": b"", "0.cls": b""}, "w:gz"))
    files = {f"{k}.png": png(k) for k in range(5)} | {f"{k}.cls": str(k % 2).encode() for k in range(5)}
    tar = write_tar(tmp_path / "x.tar", files | {"2.png": b"cut"})
    assert read_wds(tar, max_bad_share=0.2).train.skipped == ("x.tar/2.png",)
