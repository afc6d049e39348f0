"""Which images an update sees, and how they pass through the network: the stream of batches of every training."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from torch import Tensor

from distilnas.data import ImageSet, Preprocessing, eval_transform, make_loader
from distilnas.errors import UsageError
from distilnas.runtime import ranks

Batch = tuple[Tensor, Tensor]  # images (B, C, H, W), labels (B,)

_EVAL_BATCH = 256


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """How a rank passes its share of an update: ``at_once`` images at a time, ``passes`` times."""

    at_once: int
    passes: int

    @classmethod
    def of(cls, images: int, batch_size: int, micro_batch: int | None, *, even: bool = False) -> "Pieces":
        """Pieces of an update of ``batch_size`` images, or of all where there are fewer; ``even``: in pairs.

        Raises ``UsageError`` where there are too few.
        """
        share = min(batch_size, images) // ranks.world_size()
        at_once = min(micro_batch or share, share)
        at_once -= at_once % 2 if even else 0
        if at_once < 1:
            raise UsageError(f"{images} training images are too few to train with.")
        return cls(at_once=at_once, passes=share // at_once)

    @property
    def update(self) -> int:
        """The number of images of an update, those of all ranks."""
        return self.at_once * self.passes * ranks.world_size()


def check_batch(batch_size: int, micro_batch: int | None, *, even: bool = False) -> None:
    """Raise ``UsageError`` unless ``batch_size`` is a number of micro-batches that the processes can share."""
    if batch_size < 2:
        raise UsageError(f"batch_size must be at least 2, got {batch_size}.")
    if micro_batch is not None and (micro_batch < 2 or batch_size % micro_batch):
        raise UsageError(
            f"batch_size must be a multiple of micro_batch, and that at least 2, got {batch_size} and {micro_batch}."
        )
    ranks.check_shares(batch_size, micro_batch, even=even)


@dataclass(frozen=True, kw_only=True)
class UpdateStream:
    """The endless stream of updates over ``images``, epoch after epoch: a function of ``seed`` alone."""

    images: ImageSet
    transform: Callable[[Any], Tensor]
    pieces: Pieces
    seed: int
    workers: int = 0

    @property
    def per_epoch(self) -> int:
        """Updates of an epoch; images that do not fill one are left out."""
        return len(self.images) // self.pieces.update

    def between(self, first: int, last: int) -> Iterable[Iterator[Batch]]:
        """This rank's pieces of the updates ``first`` up to ``last``, counted from the stream's beginning."""
        for epoch in range(first // self.per_epoch, -(-last // self.per_epoch)):
            begun = epoch * self.per_epoch
            yield from self._epoch(epoch, max(first - begun, 0), min(last - begun, self.per_epoch))

    def _epoch(self, epoch: int, first: int, last: int) -> Iterable[Iterator[Batch]]:
        loader = make_loader(
            self.images,
            self.transform,
            batch_size=self.pieces.at_once,
            rank=ranks.rank(),
            world_size=ranks.world_size(),
            seed=self.seed,
            epoch=epoch,
            shuffle=True,
            drop_last=True,
            workers=self.workers,
            start_batch=first * self.pieces.passes,
        )
        pieces = iter(loader)
        return (islice(pieces, self.pieces.passes) for _ in range(first, last))


def eval_batches(images: ImageSet, preprocessing: Preprocessing, *, workers: int = 0) -> Iterable[Batch]:
    """All images in order, as a trained network wants them."""
    return make_loader(
        images,
        eval_transform(preprocessing),
        batch_size=_EVAL_BATCH,
        seed=0,
        epoch=0,
        shuffle=False,
        drop_last=False,
        workers=workers,
    )
