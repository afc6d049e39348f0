import os
import random
import signal
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from distilnas.data.folders import read_folder
from distilnas.data.imageset import ImageSet
from distilnas.data.loaders import Loader, make_loader
from distilnas.data.transforms import Augmentation, Preprocessing, eval_transform, train_transform
from distilnas.errors import DistilnasError, UsageError

PRE = Preprocessing(resolution=8, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
RANDOM = train_transform(PRE, Augmentation(crop="padded", padding=2, random_erasing=0.5, auto_augment="rand-m9-n2"))


def _numbered(n: int) -> ImageSet:
    """Image i is constantly i in red; its label is i mod 3."""
    pixels = np.zeros((n, 8, 8, 3), dtype=np.uint8)
    pixels[..., 0] = np.arange(n)[:, None, None]
    return ImageSet(name="numbered", classes=("a", "b", "c"), labels=np.arange(n) % 3, images=pixels)


def _noise(n: int) -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 256, (n, 8, 8, 3), dtype=np.uint8)
    return ImageSet(name="noise", classes=("a",), labels=np.zeros(n, dtype=np.int64), images=pixels)


def _load(images: ImageSet, transform: Callable[[Any], Tensor] = RANDOM, **changes: Any) -> Loader:
    settings = {"batch_size": 4, "seed": 1, "epoch": 0, "shuffle": True, "drop_last": False} | changes
    return make_loader(images, transform, **settings)


def _numbers(batch: Tensor) -> list[int]:
    return (batch[:, 0, 0, 0] * 255).round().int().tolist()


def _order(loader: Loader) -> list[list[int]]:
    return [_numbers(images) for images, _ in loader]


def _all(loader: Loader) -> list[tuple[Tensor, Tensor]]:
    batches = list(loader)
    assert len(batches) == len(loader)
    return batches


def _assert_equal(left: list, right: list) -> None:
    assert len(left) == len(right)
    for (a, x), (b, y) in zip(left, right, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(x, y)


def test_batches_in_the_sets_order() -> None:
    batches = _all(_load(_numbered(10), eval_transform(PRE), shuffle=False))
    assert [_numbers(images) for images, _ in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert [labels.tolist() for _, labels in batches] == [[0, 1, 2, 0], [1, 2, 0, 1], [2, 0]]
    images, labels = batches[0]
    assert (images.dtype, tuple(images.shape), labels.dtype) == (torch.float32, (4, 3, 8, 8), torch.int64)
    assert images.is_contiguous()


def test_shuffling_depends_on_seed_and_epoch() -> None:
    plain, images = eval_transform(PRE), _numbered(30)
    orders = [_order(_load(images, plain, seed=s, epoch=e)) for s, e in [(1, 0), (1, 1), (2, 0), (1, 0)]]
    assert orders[0] == orders[3]
    assert orders[0] != orders[1] != orders[2] != orders[0]
    assert all(sorted(chain(*order)) == list(range(30)) for order in orders)
    labels = torch.cat([labels for _, labels in _load(images, plain)])
    assert labels.tolist() == [i % 3 for i in chain(*orders[0])]


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(workers: int) -> None:
    _assert_equal(_all(_load(_noise(22), workers=workers)), _all(_load(_noise(22))))


@pytest.mark.parametrize("workers", [0, 2])
def test_resumed_epoch_is_the_rest_of_the_whole(workers: int) -> None:
    whole = _all(_load(_noise(22)))
    _assert_equal(_all(_load(_noise(22), start_batch=3, workers=workers)), whole[3:])
    assert _all(_load(_noise(22), start_batch=6, workers=workers)) == []


def test_resuming_does_not_decode_what_was_done() -> None:
    decoded = []

    def watch(image: np.ndarray) -> Tensor:
        decoded.append(int(image[0, 0, 0]))
        return torch.zeros(3, 8, 8)

    list(_load(_numbered(10), watch, shuffle=False, start_batch=2))
    assert decoded == [8, 9]


def test_augmentation_is_a_function_of_seed_epoch_and_index() -> None:
    """The pixels of image i do not depend on batch size, order or what came before."""

    def by_index(**changes) -> dict[int, Tensor]:
        numbered = _numbered(12)
        loader = _load(numbered, lambda image: torch.stack([torch.rand(8, 8) + int(image[0, 0, 0])] * 3), **changes)
        return {int(item[0, 0, 0]): item for images, _ in loader for item in images}

    base = by_index()
    for changes in ({"batch_size": 5}, {"shuffle": False}, {"workers": 2}, {"start_batch": 1}):
        other = by_index(**changes)
        assert all(torch.equal(item, base[i]) for i, item in other.items())
    assert not torch.equal(by_index(epoch=1)[3], base[3])
    assert not torch.equal(by_index(seed=2)[3], base[3])
    assert not torch.equal(base[3] - 3, base[4] - 4)


def test_numpy_and_torch_get_different_seeds() -> None:
    """Both are Mersenne twisters: under one seed they give the same integers, shifted by one draw."""
    shared = []

    def draw(image: np.ndarray) -> Tensor:
        of_numpy = np.random.randint(2**31, size=5)  # noqa: NPY002
        shared.append(set(of_numpy.tolist()) & set(torch.randint(2**31, (5,)).tolist()))
        return torch.zeros(3, 8, 8)

    list(_load(_numbered(20), draw))
    assert shared == [set()] * 20


@pytest.mark.parametrize("workers", [0, 2])
def test_the_callers_generators_are_untouched(workers: int) -> None:
    def draws() -> tuple:
        return random.random(), np.random.random(), torch.rand(1).item()  # noqa: NPY002

    def seed_all() -> None:
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        torch.manual_seed(0)

    seed_all()
    expected = [draws() for _ in range(7)]
    seed_all()
    loader = _load(_noise(22), workers=workers)
    assert [draws(), *(draws() for _ in loader)] == expected


@given(st.integers(1, 60), st.integers(1, 7), st.integers(1, 4), st.booleans())
@settings(deadline=None, max_examples=40)
def test_ranks_share_the_global_batches(n: int, batch_size: int, world_size: int, drop_last: bool) -> None:
    """The ranks' slices, put together, are the batches of one rank with world_size times the batch size."""
    images, plain, whole = _numbered(n), eval_transform(PRE), batch_size * world_size
    if drop_last and n < whole:
        with pytest.raises(UsageError, match="do not fill one batch"):
            _load(images, plain, batch_size=batch_size, world_size=world_size, drop_last=True)
        return
    common = {"batch_size": batch_size, "world_size": world_size, "drop_last": drop_last}
    ranks = [_order(_load(images, plain, rank=rank, **common)) for rank in range(world_size)]
    together = [list(chain(*slices)) for slices in zip(*ranks, strict=True)]
    assert together == _order(_load(images, plain, batch_size=whole, drop_last=drop_last))
    assert all(max(map(len, slices)) - min(map(len, slices)) <= 1 for slices in zip(*ranks, strict=True))


def test_a_rank_without_images_gets_an_empty_batch() -> None:
    images, labels = list(_load(_numbered(5), batch_size=2, rank=1, world_size=2))[-1]
    assert tuple(images.shape) == (0, 3, 8, 8)
    assert tuple(labels.shape) == (0,)


def test_decoded_and_on_disk_sets_give_the_same_batches(tmp_path: Path) -> None:
    noise = _noise(6)
    for i in range(6):
        (tmp_path / f"class{i % 2}").mkdir(exist_ok=True)
        noise.pil(i).save(tmp_path / f"class{i % 2}" / f"{i}.png")
    on_disk = read_folder(tmp_path)
    _assert_equal(_all(_load(on_disk.decoded(limit_mb=1))), _all(_load(on_disk)))


@pytest.mark.parametrize("workers", [0, 2])
def test_errors_name_the_image(tmp_path: Path, workers: int) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / name / "0.png")
    images = read_folder(tmp_path)
    (tmp_path / "b" / "0.png").write_text("changed")
    with pytest.raises(DistilnasError, match=r"^Image .*b/0\.png cannot be decoded") as caught:
        list(_load(images, workers=workers))
    assert "Traceback" not in str(caught.value)


def _fails(image: object) -> Tensor:
    raise ZeroDivisionError("oh")


@pytest.mark.parametrize("workers", [0, 2])
def test_errors_in_a_transform_name_the_image(workers: int) -> None:
    with pytest.raises(DistilnasError, match=r"number 0 of numbered cannot be transformed \(ZeroDivisionError: oh\)"):
        list(_load(_numbered(3), _fails, shuffle=False, workers=workers))


def _dies(image: object) -> Tensor:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def test_a_killed_worker_is_reported() -> None:
    with pytest.raises(DistilnasError, match="Loading images in 1 worker processes failed"):
        list(_load(_numbered(3), _dies, workers=1))


def test_messages() -> None:
    with pytest.raises(UsageError, match=r"do not fill one batch of 8 on 2 ranks\. Set batch_size to at most 5"):
        _load(_numbered(10), batch_size=8, world_size=2, drop_last=True)
    with pytest.raises(UsageError, match="numbered is empty"):
        _load(_numbered(0))
    with pytest.raises(UsageError, match="batch_size must be at least 1"):
        _load(_numbered(3), batch_size=0)
