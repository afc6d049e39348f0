"""Batches of images whose order and augmentation depend on nothing but the seed, the epoch and the image.

Each image is drawn under a seed of its own, a function of (seed, epoch, index in the set). Therefore any number of
worker processes, any number of ranks and a resumed epoch give the same pixels, and the caller's random generators stay
untouched.
"""

import contextlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from distilnas.data.imageset import ImageSet
from distilnas.errors import DistilnasError, UsageError

Batch = tuple[Tensor, Tensor]  # images (B, 3, R, R) float32, labels (B,) int64

_ORDER, _ITEMS = 0, 1  # the two streams of random numbers of an epoch


class Loader:
    """One rank's batches of one epoch, the same at every iteration. Made by :func:`make_loader`."""

    def __init__(self, batches: "_Batches", workers: int) -> None:
        self._batches = batches
        self._workers = workers

    def __len__(self) -> int:
        """The number of batches that an iteration gives (those before ``start_batch`` do not count)."""
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._from_workers() if self._workers else map(self._batches.__getitem__, range(len(self))):
            if isinstance(batch, DistilnasError):
                raise batch
            yield batch

    def _from_workers(self) -> Iterator["Batch | DistilnasError"]:
        batches = DataLoader(
            self._batches,
            batch_size=None,
            sampler=range(len(self._batches)),
            num_workers=self._workers,
            collate_fn=_as_it_is,
            generator=torch.Generator(),  # else torch draws the workers' seed from the caller's generator
        )
        try:
            yield from batches
        except RuntimeError as error:
            raise DistilnasError(
                f"Loading images in {self._workers} worker processes failed ({error}). Often memory or shared memory "
                "is short: set workers to a smaller number, or to 0 to load in the main process."
            ) from error


def make_loader(
    images: ImageSet,
    transform: Callable[[Any], Tensor],
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    shuffle: bool,
    drop_last: bool,
    workers: int = 0,
    rank: int = 0,
    world_size: int = 1,
    start_batch: int = 0,
) -> Loader:
    """Batches of ``images`` for one epoch: images (B, 3, R, R) float32 and labels (B,) int64, on the CPU.

    transform: from a Pillow image or (H, W, 3) uint8 to (3, R, R) float32; picklable when there are workers.
    batch_size: images a rank and batch. The order is cut into global batches of ``world_size * batch_size`` images, of
        which each rank gets its slice, so all ranks have equally many batches.
    drop_last: leave out the last global batch if it is not full. Otherwise it is shared out as evenly as possible; when
        it has fewer images than there are ranks, some ranks get B = 0, so train with ``drop_last`` on several ranks.
    workers: processes that prepare batches; 0 does it in this one. The result is the same.
    start_batch: begin with this batch, without decoding those before.

    Raises ``UsageError`` when there is no batch to give; iterating raises ``DistilnasError`` naming a failing image.
    """
    assert 0 <= rank < world_size, (rank, world_size)
    if batch_size < 1 or workers < 0:
        raise UsageError(f"batch_size must be at least 1 and workers at least 0, got {batch_size} and {workers}.")
    if not len(images):
        raise UsageError(f"The image set {images.name} is empty; a loader needs at least one image.")
    order = _stream(seed, epoch, _ORDER).permutation(len(images)) if shuffle else np.arange(len(images))
    shares = _shares(order, batch_size, rank, world_size, drop_last)
    if not shares:
        raise UsageError(
            f"The {len(images)} images of {images.name} do not fill one batch of {batch_size} on {world_size} ranks. "
            f"Set batch_size to at most {len(images) // world_size}, or add images."
        )
    assert 0 <= start_batch <= len(shares), (start_batch, len(shares))
    # one row for each image: seeds for random, numpy and torch
    seeds = _stream(seed, epoch, _ITEMS).integers(2**32, size=(len(images), 3), dtype=np.uint32)
    return Loader(_Batches(images=images, transform=transform, shares=shares[start_batch:], seeds=seeds), workers)


def _stream(seed: int, epoch: int, stream: int) -> np.random.Generator:
    return np.random.default_rng([seed, epoch, stream])


def _shares(order: np.ndarray, batch_size: int, rank: int, world_size: int, drop_last: bool) -> list[np.ndarray]:
    """The indices of each of the rank's batches."""
    whole = world_size * batch_size
    stop = len(order) - len(order) % whole if drop_last else len(order)
    return [
        np.array_split(order[start : min(start + whole, stop)], world_size)[rank] for start in range(0, stop, whole)
    ]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Batches(Dataset):
    """Batch number to batch. An error is returned, not raised: torch would bury its message in a worker's traceback."""

    images: ImageSet
    transform: Callable[[Any], Tensor]
    shares: list[np.ndarray]
    seeds: np.ndarray

    def __len__(self) -> int:
        return len(self.shares)

    def __getitem__(self, number: int) -> Batch | DistilnasError:
        share = self.shares[number]
        try:
            with global_generators_kept():
                # a share without images borrows one, to learn the shape
                tensors = torch.stack([self._item(int(i)) for i in (share if len(share) else [0])])
        except DistilnasError as error:
            return error
        return tensors[: len(share)], torch.from_numpy(self.images.labels[share])

    def _item(self, i: int) -> Tensor:
        """(3, R, R): image ``i``, transformed under its own seed."""
        seed_globals(*self.seeds[i].tolist())
        image = self.images.raw(i)
        try:
            return self.transform(image)
        except Exception as error:
            raise DistilnasError(
                f"Image {self.images.name_of(i)} cannot be transformed ({type(error).__name__}: {error})."
            ) from error


def seed_globals(for_random: int, for_numpy: int, for_torch: int) -> None:
    """Seed the global generators, from which transforms draw."""
    random.seed(for_random)
    np.random.seed(for_numpy)  # noqa: NPY002  timm's augmentations draw from numpy's global generator
    torch.default_generator.manual_seed(for_torch)  # torch.manual_seed would also seed all GPUs


@contextlib.contextmanager
def global_generators_kept() -> Iterator[None]:
    """Leave the states of the global generators of random, numpy and torch (CPU) as they were."""
    of_random, of_numpy, of_torch = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(of_random)
        np.random.set_state(of_numpy)  # noqa: NPY002
        torch.set_rng_state(of_torch)


def _as_it_is(batch: Any) -> Any:
    return batch
