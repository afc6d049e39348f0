"""Forecasts of a DNA run: a few steps of distillation and one batch of rating, by the code that the run uses, on noise
of its shapes; and a student to forecast with while the search has not found one."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from distilnas.methods.dna import METRICS, SAMPLERS, DistillSettings, RateSettings
from distilnas.methods.dna.distill import BlockwiseTraining
from distilnas.methods.dna.judge import Batch, Judge
from distilnas.methods.dna.schedule import stages
from distilnas.recipes.planning.bench import Plan
from distilnas.recipes.planning.disk import checkpoint_mb, table_mb, weights_mb
from distilnas.recipes.planning.forecast import StandIn, StepForecast, Work
from distilnas.recipes.planning.meter import FEWEST, MOST, Measure, Meter, Probed, Sample
from distilnas.recipes.planning.probes import noise_batch, probe_loop, still
from distilnas.recipes.planning.steps import scaled_note
from distilnas.recipes.settings import Settings
from distilnas.recipes.solving import random_choices
from distilnas.runtime.device import Device
from distilnas.solve import Limit, search_problem, solve, to_choice
from distilnas.space import Architecture, Choice, SearchSpace
from distilnas.supernet import SuperCell, Supernet
from distilnas.tables import CellRatings, CostTable, RatingTable, indifferent
from distilnas.tables.measures import Number
from distilnas.teachers import TeacherBlocks

_DRAWS = 1000


def distillation(
    plan: Plan[Any, Any],
    distill: DistillSettings,
    made: StandIn[Supernet],
    teacher: TeacherBlocks,
    *,
    name: str,
    key: str,
) -> StepForecast:
    """The training of the supernet, which was ``made`` for it, in the step ``name``; ``key``: its settings."""
    bench, images = plan.bench, plan.images.count("train")
    size = min(distill.batch_size, images)
    passes = max(1, size // (distill.micro_batch or size))
    measure = distill_steps(
        made.artefact, teacher, distill, device=bench.device, meter=bench.meter, seed=plan.settings.seed
    )
    probed = bench.measure(name, measure, -(-size // passes))
    bench.advise(key, probed, distill.batch_size)
    indices = distill.block_indices(len(made.artefact.blocks))
    epochs = len(stages(distill.order, indices)) * distill.epochs
    steps = images // size
    load, start = bench.loading(distill.augment).of(steps * size, epochs)
    compute = epochs * steps * passes * probed.seconds()
    trained = nn.ModuleList(made.artefact.blocks[i] for i in indices)
    return StepForecast(
        name=name,
        works=(
            Work(compute=compute, load=load, fixed=start + probed.start, parallel=True),
            Work(fixed=made.seconds),
        ),
        memory_mb=bench.memory(probed),
        disk_mb=weights_mb(made.artefact),
        checkpoint_mb=checkpoint_mb(trained, distill.optim),
        note=scaled_note(probed),
    )


def rating(plan: Plan[Settings, Any], made: StandIn[Supernet], teacher: TeacherBlocks) -> StepForecast:
    """Rating, which goes through the images three times: their number, the teacher's spread, the candidates."""
    bench, (number, size) = plan.bench, _rating_batches(plan)
    probed = _probed_rating(plan, made.artefact, teacher)
    bench.advise_smaller("rate", probed, "rate.batch_size")
    load, start = bench.loading(None).of(number * size, 3)
    compute = number * (2 * probed.seconds("targets") + probed.seconds("rate"))
    return StepForecast(
        name="rate",
        works=(
            Work(compute=compute, load=load, fixed=start + probed.start, parallel=True),
            Work(fixed=made.seconds),
        ),
        memory_mb=bench.memory(probed),
        disk_mb=ratings_mb(made.artefact, number),
        note=scaled_note(probed),
    )


def whole_networks(
    plan: Plan[Settings, Any], supernet: Supernet, teacher: TeacherBlocks, *, paths: int, name: str
) -> StepForecast:
    """So many whole networks on the rating images, which are gone through twice."""
    number, size = _rating_batches(plan)
    probed = _probed_rating(plan, supernet, teacher)
    load, start = plan.bench.loading(None).of(number * size, 2)
    compute = number * (2 * probed.seconds("targets") + paths * probed.seconds("path"))
    work = Work(compute=compute, load=load, fixed=start)
    return StepForecast(name=name, works=(work,), memory_mb=plan.bench.memory(probed))


def _rating_batches(plan: Plan[Settings, Any]) -> tuple[int, int]:
    """Number and size of the batches of rating images."""
    images = plan.images.count("rating")
    size = min(plan.settings.rate.batch_size, images)
    return images // size, size


def _probed_rating(plan: Plan[Settings, Any], supernet: Supernet, teacher: TeacherBlocks) -> Probed:
    bench, (_, size) = plan.bench, _rating_batches(plan)
    measure = rating_batches(supernet, teacher, plan.settings.rate, device=bench.device, meter=bench.meter)
    return bench.measure("rate", measure, size)


def distill_steps(
    supernet: Supernet, teacher: TeacherBlocks, settings: DistillSettings, *, device: Device, meter: Meter, seed: int
) -> Measure:
    """Steps of block-wise distillation (part ``step``): the mean, as every step draws other paths."""
    resolution = teacher.partition.image_shape[-1]

    def measure(images: int, until: float) -> Sample:
        quiet = replace(settings, batch_size=images, micro_batch=None, optim=still(settings.optim), lr_per_block=None)
        training = BlockwiseTraining(supernet, teacher, quiet, probe_loop(), device=device, seed=seed)
        batch, number = noise_batch(images, resolution), len(training.stages)
        found: list[_Stage] = []
        for stage in range(number):
            share = (until - time.monotonic()) / (number - stage)
            found.append(_stage_steps(training, stage, batch, time.monotonic() + share, meter))
            training.end_epoch(stage)
        return Sample(
            images=images,
            steps=sum(len(stage.laps) for stage in found),
            seconds={"step": statistics.fmean(stage.step for stage in found)},
            start=sum(stage.start for stage in found),
            memory_mb=max((stage.memory_mb for stage in found if stage.memory_mb is not None), default=None),
        )

    return measure


@dataclass(frozen=True, kw_only=True)
class _Stage:
    """Blocks that train together: ``first`` ran every op once, ``ops`` of them in the widest layer."""

    first: float
    ops: int
    laps: list[float]
    memory_mb: float | None

    @property
    def step(self) -> float:
        """The mean step."""
        return statistics.fmean(self.laps)

    @property
    def start(self) -> float:
        """What the first step took more than as many steps as it had ops to run."""
        return max(0.0, self.first - self.ops * self.step)


def _stage_steps(
    training: BlockwiseTraining, stage: int, batch: tuple[Tensor, Tensor], until: float, meter: Meter
) -> _Stage:
    """Steps of the blocks that train in a stage.

    The first one runs every op once, and so makes what later ones find (the optimisers' states, compiled kernels).
    """
    own, training.sampler = training.sampler, SAMPLERS["fair"]
    _, first = meter.timed(partial(training.step, batch, stage, 0))
    training.sampler = own
    with meter.peak() as peak:
        laps = meter.laps(partial(training.step, batch, stage), first=1, until=until)
        memory = peak()
    ops = max(n for i in training.stages[stage] for family in training.specs[i].families for n in family.shape)
    return _Stage(first=first, ops=ops if own is not SAMPLERS["fair"] else 1, laps=laps, memory_mb=memory)


def rating_batches(
    supernet: Supernet, teacher: TeacherBlocks, settings: RateSettings, *, device: Device, meter: Meter
) -> Measure:
    """One batch of rating images, in parts: ``targets`` (the teacher's pass over a batch), ``rate`` (all candidates of
    all blocks) and ``path`` (one candidate of every block, as in a whole network).

    Every op of a layer is timed once and counted as often as the tree of paths has nodes there.
    """
    supernet = device.module(supernet)  # type: ignore[assignment]
    resolution = teacher.partition.image_shape[-1]

    def measure(images: int, until: float) -> Sample:
        noise, labels = noise_batch(images, resolution)
        with torch.no_grad(), meter.peak() as peak:
            judge = Judge(teacher, METRICS[settings.metric], lambda: [(noise, labels)], device)
            group = max(1, settings.stitch_batch // images) if judge.metric.stitched else 1
            rounds: list[tuple[float, float, float]] = []
            walls: list[float] = []
            while len(rounds) <= FEWEST or (len(rounds) <= MOST and time.monotonic() < until):
                start = time.perf_counter()
                batch, looking = meter.timed(partial(judge.look, noise, labels))
                rounds.append((looking, *_rated(supernet, judge, batch, group, device, meter)))
                walls.append(time.perf_counter() - start)
            targets, rate, path = map(statistics.median, zip(*rounds[1:], strict=True))
            first = max(0.0, walls[0] - statistics.median(walls[1:]))
            seconds = {"targets": targets, "rate": rate, "path": path}
            return Sample(images=images, steps=len(rounds) - 1, seconds=seconds, memory_mb=peak(), start=first)

    return measure


def _rated(
    supernet: Supernet, judge: Judge, batch: Batch, group: int, device: Device, meter: Meter
) -> tuple[float, float]:
    """Seconds of all candidates of all blocks, and of one of every block."""
    everything = single = 0.0
    with device.autocast():
        for b, block in enumerate(supernet.blocks):
            entered, entry = meter.timed(partial(block.entry, batch.features[b]))  # type: ignore[arg-type]

            def score(output: Tensor, b: int = b) -> Tensor:
                return judge.scores(batch, b, [output] * group)

            cells = [_tree(cell, entered, score, group, meter) for cell in block.cells]  # type: ignore[arg-type,union-attr]
            everything += entry + sum(tree for tree, _ in cells)
            single += entry + statistics.fmean(path for _, path in cells)
    return everything, single


def _tree(
    cell: SuperCell, entered: Tensor, score: Callable[[Tensor], Tensor], group: int, meter: Meter
) -> tuple[float, float]:
    """Seconds of all paths of a cell as ``methods.dna.rate.walk`` goes, and of one; ``score`` compares ``group``."""
    x, nodes, tree, path = entered, 1, 0.0, 0.0
    for level, ops in enumerate(cell.spec.shape):
        outputs, times = zip(*(meter.timed(partial(cell.layer, level, op, x)) for op in range(ops)), strict=True)
        tree += nodes * sum(times)
        path += statistics.fmean(times)
        nodes *= ops
        x = outputs[-1]
    output, leaving = meter.timed(partial(cell.exit, x))
    _, scoring = meter.timed(partial(score, output))
    return tree + nodes * (leaving + scoring / group), path + leaving


def guess_architecture(space: SearchSpace, costs: CostTable, limits: tuple[Limit, ...], *, seed: int) -> Architecture:
    """Of 1,000 random architectures, the one with most MACs among those that keep the limits.

    Where none of them does, one that the solver finds without regard to ratings. Raises ``InfeasibleError`` when there
    is none.
    """

    kept: dict[Choice, Number] = {}
    for choice in random_choices(space, _DRAWS, seed):
        total = costs.total(space, choice)
        if all(limit.allows(total[limit.cost]) for limit in limits):
            kept[choice] = total["macs"]
    if kept:
        return space.architecture(max(kept, key=lambda choice: kept[choice]))
    (found,) = solve(search_problem(space, indifferent(space), costs), limits)
    return space.architecture(to_choice(space, found.positions))


def ratings_mb(supernet: Supernet, batches: int) -> float:
    """The rating table: mean, error and each batch's value of every candidate, which hardly compress."""
    rng, space = np.random.default_rng(0), supernet.space
    cells = tuple(
        tuple(
            CellRatings(
                mean=rng.random(cell.shape), stderr=rng.random(cell.shape), batches=rng.random((batches, *cell.shape))
            )
            for cell in block.families
        )
        for block in space.blocks
    )
    settings = {"adapters": supernet.adapters}
    table = RatingTable(space=space.fingerprint, metric="none", num_images=0, cells=cells, settings=settings)
    return table_mb(table)
