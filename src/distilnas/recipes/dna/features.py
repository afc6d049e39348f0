"""Does the student see what the teacher sees? Feature maps of the solution's path beside the teacher's, to look at.

The paper shows maps of 14x14 pixels on which the student imitates the teacher channel by channel (DNA, section 4).
Here every channel also gets a number: the Pearson correlation of its two maps over images and positions.

The student is the supernet's path of the solution, with its exit adapter, so that it has the teacher's channels. It is
fed twice: with the teacher's feature before the block, as it was trained and rated (``block``), and with what its own
blocks before it make of the image, as in the assembled network (``assembled``).
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from distilnas.data import Preprocessing, eval_transform
from distilnas.data.decoding import to_rgb
from distilnas.errors import UsageError
from distilnas.files import write_json
from distilnas.recipes.dna.feature_maps import Comparison
from distilnas.recipes.dna.recipe import DNA, open_dna
from distilnas.recipes.dna.steps import DATA, DISTILL, SOLVE, SPACE, TEACHER, DnaJob, rating_batches
from distilnas.recipes.frame import Step, drive
from distilnas.recipes.settings import Settings, plain
from distilnas.recipes.solving import read_choice
from distilnas.records.features import SCHEMA, ComparisonRecord, ShownImage
from distilnas.records.files import to_json
from distilnas.runtime.progress import Progress
from distilnas.space import Choice
from distilnas.supernet import SuperBlock
from distilnas.tables.files import write_arrays

SHOWN_IMAGES = 6
_PAPER_SIDE = 14


@dataclass(frozen=True, kw_only=True)
class FeatureSettings:
    """What is compared: ``blocks`` (a number from 1, or all of them; None: see ``default_block``) on ``images``.

    Without files the images are the run's rating images.
    """

    blocks: int | Literal["all"] | None = None
    images: tuple[Path, ...] = ()

    def indices(self, sides: Sequence[int]) -> tuple[int, ...]:
        """Blocks from 0, of those whose maps have ``sides`` (pixels); raises ``UsageError`` when there is no such."""
        if self.blocks == "all":
            return tuple(range(len(sides)))
        if self.blocks is None:
            return (default_block(sides),)
        if not 1 <= self.blocks <= len(sides):
            raise UsageError(f"there is no block {self.blocks}; give a number from 1 to {len(sides)}, or all.")
        return (self.blocks - 1,)


def default_block(sides: Sequence[int]) -> int:
    """The block (from 0) with maps nearest in size to the paper's 14x14, as a ratio; the last one of several."""
    return min(reversed(range(len(sides))), key=lambda b: abs(math.log(sides[b] / _PAPER_SIDE)))


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """The images. ``batches()`` gives (images, n) of which the first n count: the others only complete the batch.

    ``shown``: which of the counting images are drawn, rising; ``names`` and ``classes`` (None: unknown) are theirs.
    """

    batches: Callable[[], Iterable[tuple[Tensor, int]]]
    shown: tuple[int, ...]
    names: tuple[str, ...]
    classes: tuple[str | None, ...]


@dataclass(frozen=True, kw_only=True)
class Features(Step[DnaJob, None]):
    """Compare student and teacher; a run keeps one comparison, the last that was asked for."""

    name: str = "features"
    asked: FeatureSettings

    def keys(self, job: DnaJob) -> dict[str, Any]:
        _read_all(self.asked.images, job.preprocessing)  # what cannot be read is said before anything is replaced
        images = [[file.name, _digest(file)] for file in self.asked.images] or plain(job.settings.rate)
        keys = {"distill": job.key(DISTILL), "choice": job.result(SOLVE)["choice"], "blocks": self._blocks(job)}
        return keys | {"images": images}

    def work(self, job: DnaJob, folder: Path) -> dict[str, Any]:
        files, solution = self.asked.images, job.result(SOLVE)
        given = _read_all(files, job.preprocessing)
        sample = _rating_sample(job) if given is None else _given_sample(job, given, files)
        inputs, found = _compare(job, read_choice(solution["choice"], job.get(SPACE)), self._blocks(job), sample)
        arrays = {"inputs": _pixels(inputs, job.preprocessing)}
        record = ComparisonRecord(
            architecture=solution["architecture"],
            num_images=next(iter(found.values())).num_images,
            images=tuple(ShownImage(name=n, label=c) for n, c in zip(sample.names, sample.classes, strict=True)),
            blocks=tuple(comparison.describe(b) for b, comparison in found.items()),
        )
        for b, comparison in found.items():
            arrays |= {f"{b + 1}/{name}": array for name, array in comparison.arrays().items()}
        write_arrays(folder / "features.npz", arrays, {"kind": self.name, "schema": SCHEMA})
        write_json(folder / "features.json", to_json(record))
        return to_json(record)

    def _blocks(self, job: DnaJob) -> tuple[int, ...]:
        return self.asked.indices([row["height"] for row in job.result(TEACHER)["blocks"]])


def _rating_sample(job: DnaJob) -> Sample:
    """The rating images in the batches of the rating; the first of each class is drawn."""
    rating = job.get(DATA).rating
    size = min(job.settings.rate.batch_size, len(rating))
    _, first = np.unique(rating.labels[: len(rating) // size * size], return_index=True)
    shown = tuple(sorted(first[:SHOWN_IMAGES].tolist()))
    return Sample(
        batches=lambda: ((images, len(images)) for images, _ in rating_batches(job)),
        shown=shown,
        names=tuple(rating.name_of(i) for i in shown),
        classes=tuple(rating.classes[rating.labels[i]] for i in shown),
    )


def _given_sample(job: DnaJob, images: Tensor, files: Sequence[Path]) -> Sample:
    """The user's images, in batches that rating images fill up: batch norm uses the statistics of the batch."""
    others, _ = next(iter(rating_batches(job)))
    chunks = images.split(len(others))
    names = tuple(file.name for file in files[:SHOWN_IMAGES])
    return Sample(
        batches=lambda: ((torch.cat([chunk, others[len(chunk) :]]), len(chunk)) for chunk in chunks),
        shown=tuple(range(len(names))),
        names=names,
        classes=(None,) * len(names),
    )


@torch.no_grad()
def _compare(
    job: DnaJob, choice: Choice, blocks: Sequence[int], sample: Sample
) -> tuple[np.ndarray, dict[int, Comparison]]:
    """The shown images as the networks get them, (n, 3, R, R), and the comparison of each block."""
    supernet, seen, inputs = job.get(DISTILL), 0, []
    on_device = job.device.module(supernet)
    found = {b: Comparison() for b in blocks}
    for images, counting in sample.batches():
        shown = [i - seen for i in sample.shown if seen <= i < seen + counting]
        seen += counting
        inputs.append(images[shown].numpy())
        images = job.device.images(images)
        with job.device.autocast():
            targets = job.get(TEACHER).features(images)
            assembled = on_device.imitate(images, [(c.cell, c.path) for c in choice[:-1]])  # type: ignore[operator]
            for b, comparison in found.items():
                block: SuperBlock = supernet.blocks[b]  # type: ignore[assignment]
                alone = block.cells[choice[b].cell](block.entry(targets[b]), choice[b].path)
                comparison.add(targets[b + 1], {"block": alone, "assembled": assembled[b]}, counting, shown)
    return np.concatenate(inputs), found


def run_features(
    settings: Settings,
    folder: Path,
    asked: FeatureSettings,
    *,
    progress: Progress | None = None,
    teacher: nn.Module | None = None,
    preprocessing: Preprocessing | None = None,
) -> dict[str, Any]:
    """Compare student and teacher of the solved run in ``folder``; it then holds ``features/features.json`` and
    ``features.npz``. ``teacher`` and ``preprocessing`` as in ``run_dna``.

    Returns the content of ``features.json``, the step's folder and whether it was there already (``skipped``). Raises
    ``UsageError`` for a run that is not solved (nothing is trained here), an image that cannot be read and a block that
    is not there.
    """
    if settings.recipe != "dna":
        raise UsageError(
            f"features are compared with a teacher's, and the recipe {settings.recipe!r} has none; give a run of the "
            "recipe 'dna' (of a progressive run one round)."
        )
    if not (folder / "solve" / "step.json").is_file():
        raise UsageError(
            f"{folder} is not solved yet, and features are those of its solution: do `distilnas solve --run {folder}`."
        )
    opened = open_dna(settings, folder, progress, teacher, preprocessing)
    return drive(DNA, settings, folder, *opened, until=Features(asked=asked))


def _read_all(files: Sequence[Path], preprocessing: Preprocessing) -> Tensor | None:
    """(n, 3, R, R) as the networks want them; None where no files are given."""
    return torch.stack([_read(file, preprocessing) for file in files]) if files else None


def _read(file: Path, preprocessing: Preprocessing) -> Tensor:
    """(3, R, R) as the networks want it."""
    try:
        with Image.open(file) as image:
            return eval_transform(preprocessing)(to_rgb(image))
    except Exception as error:  # a broken file can raise almost anything from within its decoder
        raise UsageError(
            f"cannot read the image {file} ({type(error).__name__}: {error}); give files that Pillow decodes."
        ) from error


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _pixels(inputs: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Network inputs (n, 3, R, R) as (n, R, R, 3) uint8."""
    scaled = inputs.transpose(0, 2, 3, 1) * preprocessing.std + preprocessing.mean
    return (255 * scaled).round().clip(0, 255).astype(np.uint8)
