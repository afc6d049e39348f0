"""The stream of updates: any stretch of it is the same images again, in pieces that rebuild the update."""

from itertools import chain

import numpy as np
import pytest
import torch
from torch import Tensor

from distilnas.data import ImageSet
from distilnas.errors import UsageError
from distilnas.training.batches import Pieces, UpdateStream, check_batch


def _stream(images: int = 11, batch_size: int = 4, micro_batch: int | None = 2) -> UpdateStream:
    """Images whose only pixel is their number."""
    pixels = np.arange(images, dtype=np.uint8)[:, None, None, None].repeat(3, 3)
    numbered = ImageSet(name="numbers", classes=("all",), labels=np.zeros(images, dtype=np.int64), images=pixels)
    return UpdateStream(
        images=numbered,
        transform=lambda image: torch.from_numpy(np.array(image)).permute(2, 0, 1).float(),
        pieces=Pieces.of(images, batch_size, micro_batch),
        seed=1,
    )


def _numbers(stream: UpdateStream, first: int, last: int) -> list[list[list[int]]]:
    """Of each update, of each piece, the images' numbers."""

    def of(images: Tensor) -> list[int]:
        return [int(number) for number in images[:, 0, 0, 0]]

    return [[of(images) for images, _ in update] for update in stream.between(first, last)]


def test_a_stretch_of_the_stream_is_a_part_of_the_whole() -> None:
    """Two updates an epoch; stretches begin and end anywhere, within an epoch and across three."""
    stream = _stream()
    assert stream.per_epoch == 2
    whole = _numbers(stream, 0, 7)
    assert len(whole) == 7
    for first in range(7):
        for last in range(first, 8):
            assert _numbers(stream, first, last) == whole[first:last]


def test_an_epoch_has_no_image_twice_and_epochs_differ_in_order() -> None:
    whole = _numbers(_stream(), 0, 4)
    epochs = [[image for update in part for piece in update for image in piece] for part in (whole[:2], whole[2:])]
    assert all(len(set(epoch)) == len(epoch) == 8 for epoch in epochs)
    assert epochs[0] != epochs[1]


def test_pieces_put_together_are_the_update() -> None:
    together = _numbers(_stream(micro_batch=None), 0, 4)
    assert [[[*chain.from_iterable(update)]] for update in _numbers(_stream(), 0, 4)] == together


@pytest.mark.parametrize(
    ("images", "batch_size", "micro_batch", "even", "expected"),
    [
        (100, 64, None, False, (64, 1)),
        (100, 64, 16, False, (16, 4)),
        (11, 64, None, True, (10, 1)),
        (11, 64, 4, False, (4, 2)),
        (3, 64, 16, False, (3, 1)),
    ],
)
def test_pieces(images: int, batch_size: int, micro_batch: int | None, even: bool, expected: tuple[int, int]) -> None:
    pieces = Pieces.of(images, batch_size, micro_batch, even=even)
    assert (pieces.at_once, pieces.passes) == expected
    assert pieces.update == expected[0] * expected[1]


def test_too_few_images_and_batches_that_do_not_divide_are_refused() -> None:
    with pytest.raises(UsageError, match="1 training images are too few"):
        Pieces.of(1, 4, None, even=True)
    with pytest.raises(UsageError, match="batch_size must be at least 2, got 1"):
        check_batch(1, None)
    with pytest.raises(UsageError, match="multiple of micro_batch, and that at least 2, got 64 and 24"):
        check_batch(64, 24)
