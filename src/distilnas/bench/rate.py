"""``bench rate``: candidates x images per second, against every candidate from the block's start.

The cell is the third block's of the ``dna`` space, 4 layers x 6 ops, on features of EfficientNet-B7's shapes: 80
channels at 28 px in, 160 at 14 px out. The baseline rates an evenly spread share of the candidates: it takes as long
for any of them.
"""

import copy
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.stats import kendalltau
from torch import nn

from distilnas.bench.floors import ceilings, macs_per_second
from distilnas.bench.naive_rate import NaiveRating
from distilnas.bench.report import Report
from distilnas.bench.settings import BenchSettings
from distilnas.bench.timing import interleave, medians
from distilnas.costing.counters import count
from distilnas.methods.dna.judge import Judge
from distilnas.methods.dna.metrics import METRICS
from distilnas.methods.dna.rate import rate_block
from distilnas.runtime.device import PRECISIONS
from distilnas.runtime.progress import SilentProgress
from distilnas.runtime.seeds import torch_seed
from distilnas.space import BlockSpec, CellSpec, SearchSpace, frame_of, preset, space_of_cells
from distilnas.supernet import SuperCell, build_supernet
from distilnas.teachers import TeacherBlocks, propose

SHARE = 25  # the baseline rates every 25th candidate: prime to 6, so that all ops occur at all layers equally often
BLOCK = 1  # of the two of ``Setup``
Rate = Callable[[], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Of the features and the cell; ``side``: pixels of the block's input."""

    channels: tuple[int, int] = (80, 160)
    width: int = 80
    depth: int = 4
    side: int = 28


FULL = Sizes()
QUICK = Sizes(channels=(16, 24), width=16, depth=2, side=8)


class Setup:
    """A supernet whose second block is the measured cell, a stand-in teacher around it, and both ways to rate."""

    def __init__(self, sizes: Sizes, images: int, settings: BenchSettings) -> None:
        self.sizes, self.settings = sizes, settings
        self.labels = torch.zeros(images, dtype=torch.int64)
        with torch_seed(0):
            self.teacher = _teacher(sizes)
            self.images = torch.randn(images, 3, 4 * sizes.side, 4 * sizes.side)
        self.supernet = build_supernet(_space(sizes), sizes.channels, adapters="absorb", seed=0)
        cell = self.supernet.space.blocks[BLOCK].cells[0]
        self.paths = list(itertools.product(*map(range, cell.shape)))

    def ours(self, precision: str) -> Rate:
        """(candidates,) ratings of all paths, in C order."""
        device = self.settings.device(precision)
        supernet: Any = device.module(copy.deepcopy(self.supernet))
        teacher = TeacherBlocks(device.module(copy.deepcopy(self.teacher)), propose(self.teacher, 4 * self.sizes.side))
        judge = Judge(teacher, METRICS["relative_l1"], lambda: [(self.images, self.labels)], device)
        batch = judge.look(self.images, self.labels)

        def rate() -> np.ndarray:
            with torch.no_grad(), SilentProgress().task("rate", len(self.paths)) as task:
                return rate_block(supernet, BLOCK, judge, batch, 1, device, task)[0].mean(-1).ravel()

        return rate

    def naive(self, share: int = SHARE) -> Rate:
        """Ratings of every ``share``-th path."""
        to = self.settings.device().fabric.device
        first, second = (part.to(to) for part in copy.deepcopy(self.teacher).eval())
        with torch.no_grad():
            feature = first(self.images.to(to))
            target = second(feature)
        rating = NaiveRating(copy.deepcopy(self.supernet).to(to).blocks[BLOCK], 0)  # type: ignore[arg-type]
        std = float(target.double().std(correction=0))
        return lambda: np.array(rating.rate(self.paths[::share], feature, target, std))


def run(name: str, settings: BenchSettings) -> Report:
    """Time all candidates at once, and a share of them one by one, scaled to all."""
    sizes = QUICK if settings.quick else FULL
    setup = Setup(sizes, settings.images(cpu=8, cuda=64, quick=4), settings)
    naive, ours = setup.naive(), {precision: setup.ours(precision) for precision in PRECISIONS}
    exact, plain = naive(), {precision: rate() for precision, rate in ours.items()}
    times = interleave({"naive": naive} | {f"ours {p}": rate for p, rate in ours.items()}, turns=settings.turns)
    scale = len(setup.paths) / len(exact)
    times["naive"] = [seconds * scale for seconds in times["naive"]]
    ceiling = ceilings(settings)
    macs = len(setup.images) * _macs(setup)
    best = min((f"ours {p}" for p in PRECISIONS), key=medians(times).__getitem__)
    return Report(
        name=name,
        what=f"{len(setup.paths)} candidates of a cell of {sizes.depth} layers x 6 ops, width {sizes.width}, "
        f"on {len(setup.images)} images; naive: {len(exact)} of the candidates, times scaled to all",
        times=times,
        work=(len(setup.paths) * len(setup.images), "candidates_x_images"),
        ours=best,
        baseline="naive",
        floors={"matrix products at the device's ceiling": macs / macs_per_second(ceiling)},
        equal={
            "largest_relative_difference_of_ratings": float(np.max(np.abs(plain["32-true"][::SHARE] / exact - 1))),
            "kendall_tau_of_bf16_to_float32": float(kendalltau(plain["bf16-mixed"], plain["32-true"]).statistic),  # type: ignore[attr-defined],
        },
        facts={"op_evaluations": _op_evaluations(setup), "macs": macs, "ceilings": ceiling},
    )


def _teacher(sizes: Sizes) -> nn.Sequential:
    """Two modules that emit features of the wanted shapes."""
    first, second = sizes.channels
    parts = nn.Sequential(nn.Conv2d(3, first, 4, 4), nn.Conv2d(first, second, 3, 2, 1))
    return nn.Sequential(*(nn.Sequential(part, nn.Tanh()) for part in parts))


def _space(sizes: Sizes) -> SearchSpace:
    """A block of any cell, then the one with the measured cell; the ops are those of the ``dna`` space."""
    dna = preset("dna")
    ops = dna.blocks[0].cells[0].layers[0]
    cells = [CellSpec(width=sizes.width, layers=(ops,) * d) for d in (1, sizes.depth)]
    blocks = [BlockSpec(stride=2, families=(cell,)) for cell in cells]
    stem, head = frame_of(dna, "the benchmark")
    return space_of_cells(name="bench", stem=stem, blocks=blocks, head=head)


def _op_evaluations(setup: Setup) -> dict[str, int]:
    ops = setup.supernet.space.blocks[BLOCK].cells[0].shape
    prefixes = itertools.accumulate(ops, lambda a, b: a * b)
    return {"shared prefixes": sum(prefixes), "naive": 2 * len(ops) * len(setup.paths)}


def _macs(setup: Setup) -> float:
    """Multiply-adds per image of every op once per distinct prefix."""
    cell: SuperCell = setup.supernet.blocks[BLOCK].cells[0]  # type: ignore[union-attr,index,assignment]
    shape: tuple[int, ...] = (setup.sizes.channels[0], setup.sizes.side, setup.sizes.side)
    total, prefixes = 0, 1
    for ops in cell.layers:
        counts = [count(op, shape) for op in ops]  # type: ignore[union-attr]
        total += prefixes * sum(found.macs for found in counts)
        prefixes *= len(counts)
        shape = counts[0].shape
    return total
