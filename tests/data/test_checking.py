import logging
from pathlib import Path

import numpy as np
import pytest
from small_images import class_files, write_folder

from distilnas.data import checking
from distilnas.data.checking import checked_splits, numbered, readable
from distilnas.data.folders import read_folder
from distilnas.data.imageset import ImageSet
from distilnas.data.readers import packed
from distilnas.errors import UsageError


@pytest.fixture
def damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImageSet:
    """Forty images, of which a/7 is damaged; a sample is of ten, and ``auto`` looks at all of up to twenty."""
    monkeypatch.setattr(checking, "SAMPLE", 10)
    monkeypatch.setattr(checking, "ALL_UP_TO", 20)
    files = class_files({"a": 20, "b": 20})
    return read_folder(write_folder(tmp_path, {**files, "a/7.png": files["a/7.png"][:60]}), check="none")


def _decoded(images: ImageSet, check: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many images a check decodes."""
    seen = []
    monkeypatch.setattr(checking, "problem", lambda opened, _: seen.append(opened))
    readable(images, check, 1.0)
    return len(seen)


def test_how_many_images_each_check_decodes(damaged: ImageSet, monkeypatch: pytest.MonkeyPatch) -> None:
    small = damaged.subset(range(20))
    assert [_decoded(damaged, check, monkeypatch) for check in ("all", "sample", "none", "auto")] == [40, 10, 0, 10]
    assert [_decoded(small, check, monkeypatch) for check in ("all", "sample", "none", "auto")] == [20, 10, 0, 20]
    assert _decoded(damaged.subset(range(10)), "sample", monkeypatch) == 10


def test_all_finds_what_none_leaves(damaged: ImageSet, caplog: pytest.LogCaptureFixture) -> None:
    assert readable(damaged, "none", 0.0) is damaged
    with caplog.at_level(logging.WARNING):
        good = readable(damaged, "all", 0.05)
    assert (len(good), good.skipped) == (39, ("a/7.png",))
    assert "a/7.png" not in [good.name_of(i) for i in range(39)]
    assert "check=all" not in caplog.text


def test_a_sample_is_always_the_same_and_says_that_it_is_one(
    damaged: ImageSet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looked_at = checking._looked_at(40, "sample")
    assert looked_at == checking._looked_at(40, "sample") == sorted(set(looked_at))
    swapped, place = np.arange(40), [damaged.name_of(i) for i in range(40)].index("a/7.png")
    swapped[[looked_at[0], place]] = swapped[[place, looked_at[0]]]  # so that the damaged one is in the sample
    good = readable(damaged.subset(swapped), "sample", 0.1)
    assert (len(good), good.skipped) == (39, ("a/7.png",))
    assert "1 of 10 images drawn from" in caplog.text
    assert "of 40 images others may be damaged too, check=all finds them" in caplog.text
    with pytest.raises(UsageError, match=r"At most 9% .* 1 of 10 images drawn from"):
        readable(damaged.subset(swapped), "sample", 0.09)


def test_unknown_check(damaged: ImageSet) -> None:
    with pytest.raises(UsageError, match="check must be one of auto, all, sample, none, got 'al'; did you mean 'all'"):
        readable(damaged, "al", 0.1)


def test_numbered_orders_names_as_text_and_numbers_by_value() -> None:
    classes, labels = numbered(packed(["10", "9", "2", "10", "1"]))
    assert (classes, labels.tolist(), labels.dtype) == (("1", "2", "9", "10"), [3, 2, 1, 3, 0], np.int64)
    classes, labels = numbered(packed(["10", "b", "9", "a"]))
    assert (classes, labels.tolist()) == (("10", "9", "a", "b"), [0, 3, 1, 2])


def _set(classes: tuple[str, ...], labels: list[int]) -> ImageSet:
    pixels = np.zeros((len(labels), 1, 1, 3), dtype=np.uint8)
    return ImageSet(name="set", classes=classes, labels=np.array(labels, dtype=np.int64), images=pixels)


def test_equal_class_lists_are_kept_even_when_names_repeat() -> None:
    """As in some lists of ImageNet's names, where two kinds of crane share one."""
    train, test = _set(("crane", "crane"), [0, 0, 1, 1]), _set(("crane", "crane"), [0, 1])
    found = checked_splits(train, test).test
    assert found is not None
    assert found.labels.tolist() == [0, 1]


def test_messages_name_a_set_in_memory() -> None:
    with pytest.raises(UsageError, match=r"too few in set: b \(1\)"):
        checked_splits(_set(("a", "b"), [0, 0, 1]), None)
