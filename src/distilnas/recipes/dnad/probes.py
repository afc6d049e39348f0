"""Forecasts of a DNAD run: a few steps of its searches, by the code that the run uses, on noise of its shapes; and a
student to forecast with while the search has not found one."""

import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from distilnas.files import write_json
from distilnas.methods.dnad import Archive, BilevelSettings, SearchNet, ShrinkSettings, Snapshot
from distilnas.methods.dnad.alphas import Alphas
from distilnas.methods.dnad.bilevel import BilevelTraining
from distilnas.methods.dnad.choices import Choices
from distilnas.methods.dnad.costs import candidate_macs, derived_counts, point_sides
from distilnas.methods.dnad.imitation import Imitation
from distilnas.methods.dnad.recorder import Recorder, Weighted
from distilnas.methods.dnad.shrink import ShrinkTraining
from distilnas.recipes.dnad.choice import found_networks
from distilnas.recipes.dnad.settings import DnadSettings
from distilnas.recipes.planning.bench import Plan
from distilnas.recipes.planning.disk import checkpoint_mb
from distilnas.recipes.planning.forecast import StepForecast, Work
from distilnas.recipes.planning.meter import Measure, Meter, Sample
from distilnas.recipes.planning.probes import STILL, noise_batch, probe_loop
from distilnas.recipes.planning.steps import scaled_note, testing_work
from distilnas.runtime.device import Device
from distilnas.solve import Limit
from distilnas.space.darts import CellwiseGenotype, DartsArchitecture
from distilnas.space.darts.space import DartsSpace
from distilnas.teachers import TeacherBlocks
from distilnas.training import OptimSettings
from distilnas.training.loop import Trainable

_ADAM, _MOMENTUM = OptimSettings(optimizer="adam"), OptimSettings(optimizer="sgd")  # of the supernet's weights
_MOST_AT_NODE = 2  # as many as DARTS keeps

ALL_ALIVE = (
    "search: all candidates are taken to stay alive, and all epochs to be run. A supernet that shrinks gets faster and "
    "may end early, so that this is an upper bound, but for tests on held-out images at Pareto events, whose number is "
    "not known."
)


def shrinking(plan: Plan[DnadSettings, Any], supernet: SearchNet, teacher: TeacherBlocks | None) -> StepForecast:
    """A search by shrinking; an upper bound, see ``ALL_ALIVE``."""
    bench, shrink, images = plan.bench, plan.settings.search.shrink, plan.images.count("train")
    imitation = teacher and _imitation(plan, supernet, teacher)
    size = min(shrink.batch_size, images)
    steps = images // size
    measure = shrink_steps(
        supernet, imitation, shrink, resolution=bench.resolution, device=bench.device, meter=bench.meter
    )
    probed = bench.measure("search", measure, size)
    bench.advise_smaller("search", probed, "search.shrink.batch_size")
    load, start = bench.loading(shrink.augment).of(steps * size, shrink.epochs)
    every = shrink.snapshot_steps
    snapshots = shrink.epochs if every is None else -(-shrink.epochs * steps // every)  # the last one at the end
    tested = bench.passes("held-out", Weighted(supernet, Choices(supernet.space)))
    trained = nn.ModuleList([supernet, *([imitation] if imitation else [])])
    scaled = scaled_note(probed)
    plan.assumptions.append(ALL_ALIVE)
    return StepForecast(
        name="search",
        works=(
            Work(compute=shrink.epochs * steps * probed.seconds(), load=load, fixed=start + probed.start),
            testing_work(bench, tested, "rating", snapshots),
        ),
        memory_mb=bench.memory(probed),
        disk_mb=snapshots_mb(supernet.space, snapshots, width=shrink.evaluation_width),
        checkpoint_mb=checkpoint_mb(trained, _ADAM),
        note=f"at most{'; ' if scaled else ''}{scaled}",
    )


def _imitation(plan: Plan[DnadSettings, Any], supernet: SearchNet, teacher: TeacherBlocks) -> Imitation:
    grids = [(side, side) for side in point_sides(supernet.space, resolution=plan.preprocessing.resolution)]
    return Imitation(plan.settings.search.shrink.imitation, teacher, supernet.point_widths, grids, seed=0)


def bilevel_search(plan: Plan[DnadSettings, Any], supernet: SearchNet) -> StepForecast:
    """A search by DARTS."""
    bench, bilevel, half = plan.bench, plan.settings.search.bilevel, plan.images.count("train") // 2
    size = min(bilevel.batch_size, half)
    steps = half // size
    measure = bilevel_steps(supernet, bilevel, resolution=bench.resolution, device=bench.device, meter=bench.meter)
    probed = bench.measure("search", measure, size)
    bench.advise_smaller("search", probed, "search.bilevel.batch_size")
    load, start = bench.loading(bilevel.augment).of(2 * steps * size, bilevel.epochs)
    alphas = Alphas(supernet.space, shared=bilevel.shared, seed=0)
    tested = bench.passes("held-out", Weighted(supernet, alphas))
    return StepForecast(
        name="search",
        works=(
            Work(
                compute=bilevel.epochs * steps * probed.seconds(),
                load=load,
                fixed=2 * start + probed.start,  # a loader for each half
            ),
            testing_work(bench, tested, "rating", 1),
        ),
        memory_mb=bench.memory(probed),
        checkpoint_mb=checkpoint_mb(supernet, _MOMENTUM),
        note=scaled_note(probed),
    )


def shrink_steps(
    supernet: SearchNet,
    imitation: Imitation | None,
    settings: ShrinkSettings,
    *,
    resolution: int,
    device: Device,
    meter: Meter,
) -> Measure:
    """Steps under pressure with all candidates alive (part ``step``): nothing moves, so nothing is deleted."""
    quiet = replace(settings, warmup_epochs=0, lr=STILL, architecture_lr=STILL)

    def start() -> ShrinkTraining:
        recorder = Recorder(Weighted(supernet, Choices(supernet.space)), quiet, resolution, None, device)
        return ShrinkTraining(recorder, imitation, quiet, probe_loop())

    return _steps(start, partial(noise_batch, resolution=resolution), meter)


def bilevel_steps(
    supernet: SearchNet, settings: BilevelSettings, *, resolution: int, device: Device, meter: Meter
) -> Measure:
    """Steps of alphas and weights, each on a batch of its own (part ``step``)."""
    quiet = replace(settings, lr=STILL, min_lr=STILL, alpha_lr=STILL)

    def start() -> BilevelTraining:
        alphas = Alphas(supernet.space, shared=settings.shared, seed=0)
        return BilevelTraining(supernet, alphas, quiet, probe_loop(), device=device)

    def pair(images: int) -> Any:
        return noise_batch(images, resolution), noise_batch(images, resolution)

    return _steps(start, pair, meter)


def _steps(start: Callable[[], Trainable], batch_of: Callable[[int], Any], meter: Meter) -> Measure:
    """The median of steps after the first, which makes the optimiser's state."""

    def measure(images: int, until: float) -> Sample:
        training, batch = start(), batch_of(images)
        _, first = meter.timed(partial(training.step, batch, 0, 0))
        with meter.peak() as peak:
            laps = meter.laps(partial(training.step, batch, 0), first=1, until=until)
            memory = peak()
        step = statistics.median(laps)
        return Sample(
            images=images, steps=len(laps), seconds={"step": step}, memory_mb=memory, start=max(0.0, first - step)
        )

    return measure


def guess_darts(
    space: DartsSpace, limits: tuple[Limit, ...], *, width: int, resolution: int, classes: int
) -> DartsArchitecture:
    """Of some networks with two candidates at every node, as DARTS keeps, or one: that with most MACs within the
    limits, or where none keeps them, with fewest."""
    found, kept = {}, {}
    for genotype in _genotypes(space, resolution):
        architecture = space.architecture(genotype, width=width)
        params, macs = derived_counts(architecture, resolution=resolution, num_classes=classes)
        found[architecture] = macs
        if all(limit.allows({"params": params, "macs": macs}[limit.cost]) for limit in limits):
            kept[architecture] = macs
    return max(kept, key=lambda a: kept[a]) if kept else min(found, key=lambda a: found[a])


def _genotypes(space: DartsSpace, resolution: int) -> Iterator[CellwiseGenotype]:
    """At every node its two costliest candidates, then the second and third, and so on to the cheapest two; then the
    costliest one, and so on. Of equally costly ones the earlier input comes first."""
    macs = candidate_macs(space, resolution=resolution)
    ranked = [
        sorted((c for c, edge in enumerate(node) if edge.op != "none"), key=lambda c: (-float(macs[row, c]), c))
        for row, node in enumerate(space.candidates * space.num_cells)
    ]
    for number in range(_MOST_AT_NODE, 0, -1):
        for rank in range(max(map(len, ranked)) - number + 1):
            windows = [columns[min(rank, len(columns) - number) :][:number] for columns in ranked]
            yield space.genotype([[column in window for column in range(space.columns)] for window in windows])


def snapshots_mb(space: DartsSpace, number: int, *, width: int) -> float:
    """The archive of so many snapshots with all candidates alive, and the list of the networks derived from them."""
    snapshot = Snapshot(
        reason="periodic",
        step=1,
        genotype=space.everything,
        sparsity=100 / 3,
        gamma=1 / 3,
        mu=1 / 3,
        ops=space.num_candidates,
        params=10**6,
        macs=10**8,
        loss=1 / 3,
        accuracy=100 / 3,
    )
    archive = Archive(space=space, width=width, resolution=32, num_classes=10, snapshots=(snapshot,) * number)
    with tempfile.TemporaryDirectory() as folder:
        archive.save(Path(folder) / "archive.json")
        write_json(Path(folder) / "networks.json", [asdict(network) for network in found_networks(archive)])
        return sum(path.stat().st_size for path in Path(folder).iterdir()) / 1e6
