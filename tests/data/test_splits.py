import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distilnas.data.imageset import ImageSet
from distilnas.data.splits import DataSplits, make_splits, mixed, split
from distilnas.errors import UsageError

labels_of_any_kind = st.lists(st.integers(0, 6), min_size=1, max_size=120).map(lambda x: np.array(x, dtype=np.int64))


def _set(labels: np.ndarray) -> ImageSet:
    """Images whose first pixel value tells their index."""
    pixels = np.zeros((len(labels), 1, 1, 3), dtype=np.uint8)
    pixels[:, 0, 0, 0] = np.arange(len(labels)) % 256
    pixels[:, 0, 0, 1] = np.arange(len(labels)) // 256
    return ImageSet(name="set", classes=tuple("abcdefg"), labels=labels, images=pixels)


def _indices(images: ImageSet) -> list[int]:
    assert isinstance(images.images, np.ndarray)
    flat = images.images[:, 0, 0].astype(int)
    return (flat[:, 0] + 256 * flat[:, 1]).tolist()


@given(labels_of_any_kind, st.data())
def test_parts_are_disjoint_exact_and_leave_each_class_one(labels: np.ndarray, data: st.DataObject) -> None:
    spare = len(labels) - len(np.unique(labels))
    first = data.draw(st.integers(0, spare))
    second = data.draw(st.integers(0, spare - first))
    parts = split(labels, [first, second], seed=data.draw(st.integers(0, 2**32)))
    assert [len(part) for part in parts] == [first, second, len(labels) - first - second]
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(len(labels)))
    assert set(labels[parts[-1]]) == set(labels)
    assert all((np.diff(part) > 0).all() for part in parts)


@given(labels_of_any_kind, st.data())
def test_first_part_has_each_class_in_proportion(labels: np.ndarray, data: st.DataObject) -> None:
    counts = np.bincount(labels)
    available = np.maximum(counts - 1, 0)
    size = data.draw(st.integers(0, int(available.sum())))
    taken = np.bincount(labels[split(labels, [size], seed=0)[0]], minlength=len(counts))
    exact = size * available / max(available.sum(), 1)
    assert (np.abs(taken - exact) < 1).all()


def test_later_parts_are_stratified_too() -> None:
    labels = np.repeat(np.arange(4), 100)
    for part in split(labels, [0.2, 40, 0.1], seed=3):
        assert np.ptp(np.bincount(labels[part])) == 0


def test_equal_seeds_give_equal_splits_and_later_parts_do_not_matter() -> None:
    labels = np.arange(300) % 7
    first = split(labels, [50, 30], seed=5)
    again = split(labels, [50, 30, 99], seed=5)
    other = split(labels, [50, 30], seed=6)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


@given(labels_of_any_kind, st.data())
def test_mixed_is_a_permutation_whose_leading_parts_have_each_class_in_proportion(
    labels: np.ndarray, data: st.DataObject
) -> None:
    chosen = data.draw(st.sets(st.integers(0, len(labels) - 1), min_size=1))
    indices = np.array(sorted(chosen))
    order = mixed(labels, indices, seed=data.draw(st.integers(0, 2**32)))
    assert np.array_equal(np.sort(order), indices)
    classes, counts = np.unique(labels[indices], return_counts=True)
    for length in range(len(order) + 1):
        taken = (labels[order[:length], None] == classes).sum(axis=0)
        assert (np.abs(taken - length * counts / len(order)) <= len(classes)).all()


def test_mixed_depends_on_the_seed_within_a_class_too() -> None:
    labels = np.zeros(30, dtype=np.int64)
    first, again, other = (mixed(labels, np.arange(30), seed).tolist() for seed in (4, 4, 5))
    assert first == again != other
    assert first != list(range(30))


def test_images_come_in_folder_order_but_batches_of_the_rating_part_hold_all_classes() -> None:
    labels = np.repeat(np.arange(5), 100)
    rating = _make(_set(labels), rating_images=200).rating
    for batch in rating.labels.reshape(10, 20):
        assert set(batch) == set(range(5))


def test_shares_are_of_all_images() -> None:
    assert [len(part) for part in split(np.zeros(50, dtype=int), [0.2, 0.1], seed=0)] == [10, 5, 35]


def test_messages() -> None:
    labels = np.array([0, 0, 1, 1, 1])
    with pytest.raises(UsageError, match=r"of 5 images in 2 classes 3 can be split off, asked for 2 \+ 2 = 4"):
        split(labels, [2, 2], seed=0)
    for part in (-1, 1.0, -0.1):
        with pytest.raises(UsageError, match="number of images"):
            split(labels, [part], seed=0)


def _make(train: ImageSet, test: ImageSet | None = None, **changes) -> DataSplits:
    settings = {"test_fraction": 0.2, "validation": 0.1, "rating_images": 30, "seed": 1} | changes
    return make_splits(train, test, **settings)


def test_make_splits_without_test_folder() -> None:
    parts = _make(_set(np.arange(400) % 7))
    sets = [parts.test, parts.validation, parts.rating, parts.train]
    assert [len(s) for s in sets] == [80, 40, 30, 250]
    assert sorted(i for s in sets for i in _indices(s)) == list(range(400))
    assert all(np.ptp(s.class_counts) <= 2 for s in sets)


def test_make_splits_with_test_folder_uses_it_as_it_is() -> None:
    train, test = _set(np.arange(400) % 7), _set(np.arange(10) % 7)
    parts = _make(train, test, validation=50)
    assert parts.test is test
    assert [len(parts.validation), len(parts.rating), len(parts.train)] == [50, 30, 320]


def test_train_images_limits_only_training() -> None:
    data = _set(np.arange(400) % 7)
    full, limited = _make(data), _make(data, train_images=70)
    assert limited.train.class_counts.tolist() == [10] * 7
    assert set(_indices(limited.train)) <= set(_indices(full.train))
    for name in ("test", "validation", "rating"):
        assert _indices(getattr(limited, name)) == _indices(getattr(full, name))


def test_nothing_asked_for_is_an_empty_set() -> None:
    parts = _make(_set(np.arange(70) % 7), validation=0, rating_images=0)
    assert (len(parts.validation), len(parts.rating)) == (0, 0)


def test_make_splits_messages() -> None:
    data = _set(np.arange(70) % 7)
    with pytest.raises(UsageError, match="test_fraction must lie between 0 and 1, got 0"):
        _make(data, test_fraction=0)
    with pytest.raises(UsageError, match="can be split off"):
        _make(data, rating_images=60)
    with pytest.raises(UsageError, match=r"between 7 \(one for each class\) and 19 .* got 20"):
        _make(data, train_images=20)
    other = ImageSet(name="other", classes=("x",), labels=data.labels[:1], images=np.zeros((1, 1, 1, 3), np.uint8))
    with pytest.raises(UsageError, match="other must have the classes of set"):
        _make(data, other)
