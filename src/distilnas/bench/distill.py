"""``bench distill``: images per second through ALL blocks, against the released schedule.

Both train the same paths from the same weights: of every block one path of one cell a step, drawn from all cells. The
released schedule visits the blocks one after the other; a turn is one update of each block on either side. The
optimisers' states are there before the clock starts, as they are in all but a training's first steps.
"""

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from distilnas.bench.by_hand import loop_by_hand
from distilnas.bench.floors import ceilings, macs_per_second
from distilnas.bench.naive_distill import Drawn, NaiveDistillation
from distilnas.bench.report import Report
from distilnas.bench.settings import BenchSettings
from distilnas.bench.timing import counting_runs, interleave, medians, peak_bytes
from distilnas.costing.counters import count
from distilnas.methods.dna import DistillSettings
from distilnas.methods.dna.distill import BlockwiseTraining, block_step
from distilnas.runtime.device import PRECISIONS
from distilnas.runtime.seeds import torch_seed
from distilnas.space import preset
from distilnas.supernet import Supernet, build_supernet
from distilnas.teachers import TeacherBlocks, create_teacher, propose
from distilnas.training import OptimSettings

PARTS = ("teacher alone", "students alone")
_RATE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Case:
    """A teacher (random weights), the space of its student, and sizes. ``cpu``, ``cuda``: images at a time."""

    teacher: str
    space: str
    resolution: int
    cpu: int
    cuda: int
    num_classes: int = 1000
    quick: int = 4
    model_kwargs: dict[str, Any] = field(default_factory=dict)


B7 = Case(teacher="tf_efficientnet_b7", space="dna", resolution=224, cpu=8, cuda=256)
QUICK = replace(B7, teacher="tf_efficientnet_b0", resolution=64)
CIFAR = Case(teacher="cifar_resnet", space="nas-bench-macro", resolution=32, cpu=256, cuda=256, num_classes=10)


class Setup:
    """Teacher, supernet and batch of a case, and both ways of training; every way has copies of its own."""

    def __init__(self, case: Case, settings: BenchSettings) -> None:
        self.case, self.settings = case, settings
        self.batch = settings.images(cpu=case.cpu, cuda=case.cuda, quick=case.quick)
        with torch_seed(0):
            self.teacher = create_teacher(case.teacher, num_classes=case.num_classes, model_kwargs=case.model_kwargs)
            self.images = torch.randn(self.batch, 3, case.resolution, case.resolution)
        self.partition = propose(self.teacher, case.resolution)
        channels = tuple(tap.channels for tap in self.partition.taps)
        self.supernet = build_supernet(preset(case.space), channels, adapters="absorb", seed=0)

    def ours(self, precision: str) -> tuple[BlockwiseTraining, Supernet]:
        """Our training, and the supernet that it trains."""
        device, supernet = self.settings.device(precision), copy.deepcopy(self.supernet)
        optim = OptimSettings(optimizer="adam", lr=_RATE, schedule="none")
        settings = DistillSettings(
            batch_size=self.batch, loss="mse", adapters="absorb", cells_per_step=1, optim=optim, epochs=1
        )
        teacher = TeacherBlocks(device.module(copy.deepcopy(self.teacher)), self.partition)
        return BlockwiseTraining(supernet, teacher, settings, loop_by_hand(), device=device, seed=0), supernet

    def naive(self) -> NaiveDistillation:
        """The released schedule."""
        to = self.settings.device().fabric.device
        taps = [tap.path for tap in self.partition.taps]
        supernet = copy.deepcopy(self.supernet).to(to)
        return NaiveDistillation(supernet, copy.deepcopy(self.teacher).to(to), taps, [_RATE] * len(taps))


def our_step(training: BlockwiseTraining, images: Tensor, step: int) -> Tensor:
    """One update of every block; their losses."""
    return training.step((images, torch.zeros(len(images), dtype=torch.int64)), 0, step)


def naive_step(naive: NaiveDistillation, images: Tensor, drawn: list[Drawn]) -> list[float]:
    """One update of every block, one after the other; their losses."""
    return [naive.train_block(i, [(images, choice)])[0] for i, choice in enumerate(drawn)]


def drawn(training: BlockwiseTraining, step: int) -> list[Drawn]:
    """What every block trains in a step: the one cell that has a path."""
    paths = [training.paths(i, 0, step) for i in range(len(training.specs))]
    return [next((c, p[0]) for c, p in enumerate(cells) if p) for cells in paths]


def make_states(optimizers: Iterable[Optimizer]) -> None:
    """Let Adam make its states of all weights, by a step of zero gradients, which changes no weight.

    Otherwise each step makes those of the ops that it draws first, and most of its time beyond teacher and students
    goes into new memory.
    """
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        optimizer.zero_grad()


def run(case: Case, name: str, settings: BenchSettings) -> Report:
    """Time the released schedule, ours in both precisions, and ours in parts."""
    setup = Setup(case, settings)
    images = setup.images.to(settings.device().fabric.device)
    naive, trainings = setup.naive(), {precision: setup.ours(precision)[0] for precision in PRECISIONS}
    plain, best = trainings["32-true"], trainings["bf16-mixed"]
    for optimizers in (naive.optimizers, *(training.optimizers.values() for training in trainings.values())):
        make_states(optimizers)
    first = [naive_step(naive, images, drawn(plain, 0)), our_step(plain, images, 0).tolist()]
    alternatives: dict[str, Callable[[int], object]] = {
        "naive": lambda step: naive_step(naive, images, drawn(plain, step)),
        **{f"ours {p}": lambda step, p=p: our_step(trainings[p], images, step) for p in PRECISIONS},
        "teacher alone": lambda _: teacher_features(best, images),
    }
    features = teacher_features(best, images)
    alternatives["students alone"] = lambda step: student_steps(best, features, step)
    lead = settings.lead
    times = interleave({n: counted(work) for n, work in alternatives.items()}, turns=settings.turns, lead=lead)
    ceiling = ceilings(settings)
    seconds = medians(times)
    macs = {n: setup.batch * v for n, v in _macs(setup, plain, counting_runs(turns=settings.turns, lead=lead)).items()}
    return Report(
        name=name,
        what=f"one update of each of {len(plain.specs)} blocks on {setup.batch} images of {case.resolution} px, "
        f"teacher {case.teacher}, space {case.space}, one path of one cell per block and step",
        times=times,
        work=(setup.batch, "images"),
        ours=min((f"ours {p}" for p in PRECISIONS), key=seconds.__getitem__),
        baseline="naive",
        floors={part: seconds[part] for part in PARTS}
        | {"matrix products at the device's ceiling": sum(macs.values()) / macs_per_second(ceiling)},
        equal={"largest_relative_difference_of_losses": _largest_difference(*first)},
        facts={"batch": setup.batch, "macs": macs, "ceilings": ceiling, "memory_bytes": _memory(best, images)},
    )


def teacher_features(training: BlockwiseTraining, images: Tensor) -> list[Tensor]:
    """The teacher's part of a step alone."""
    with training.device.autocast():
        return training.teacher.features(training.device.images(images))


def student_steps(training: BlockwiseTraining, features: list[Tensor], step: int) -> None:
    """The students' part of a step alone: forward and backward of every block, without updates."""
    for i in training.blocks:
        block_gradients(training, i, features, step)


def block_gradients(training: BlockwiseTraining, i: int, features: list[Tensor], step: int) -> None:
    """Forward and backward of block ``i``."""
    paths = training.paths(i, 0, step)
    block_step(training.blocks[i], features[i], features[i + 1], paths, training.loss, training.device)
    training.optimizers[i].zero_grad()


def _memory(training: BlockwiseTraining, images: Tensor) -> dict[str, float]:
    """Peak bytes of a step, of the teacher alone and of the largest block alone; the first over the other two."""
    device = training.device
    features = teacher_features(training, images)
    blocks = [
        peak_bytes(lambda i=i: block_gradients(training, i, features, 1), device) for i in range(len(training.specs))
    ]
    record = {
        "step": peak_bytes(lambda: our_step(training, images, 1), device),
        "teacher": peak_bytes(lambda: teacher_features(training, images), device),
        "largest_block": max(blocks),
        "all_blocks": sum(blocks),
    }
    return record | {"step_over_teacher_and_largest_block": record["step"] / (record["teacher"] + max(blocks))}


def _macs(setup: Setup, training: BlockwiseTraining, steps: range) -> dict[str, float]:
    """Multiply-adds per image: of the teacher to the last tap, and of the students, the mean over ``steps``.

    A student's backward pass counts twice its forward pass.
    """
    taps = setup.partition.taps
    rows = TeacherBlocks(copy.deepcopy(setup.teacher), setup.partition).describe(lambda model, s: count(model, s).macs)
    shapes = [setup.partition.image_shape, *((tap.channels, *tap.grid) for tap in taps)]
    forward = 0
    for step in steps:
        for block, shape, (cell, path) in zip(setup.supernet.blocks, shapes, drawn(training, step), strict=False):
            forward += count(_Path(block, cell, path), shape).macs
    return {"teacher": sum(row["macs"] for row in rows), "students": 3 * forward / len(steps)}


class _Path(nn.Module):
    """One path of a student block as a network of its own."""

    def __init__(self, block: Any, cell: int, path: tuple[int, ...]) -> None:
        super().__init__()
        layers = [block.cells[cell].layers[level][op] for level, op in enumerate(path)]
        self.body = nn.Sequential(block.entry, *layers, block.cells[cell].exit)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


def counted(work: Callable[[int], object]) -> Callable[[], object]:
    """``work`` at step 0, 1, ...: the same steps for every alternative."""
    steps = iter(range(1 << 30))
    return lambda: work(next(steps))


def _largest_difference(one: list[float], other: list[float]) -> float:
    return max(abs(a - b) / abs(b) for a, b in zip(one, other, strict=True))
