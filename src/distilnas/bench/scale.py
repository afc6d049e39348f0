"""``bench scale``: what a distillation step costs as the supernet or the batch grows.

The same paths are trained in a supernet that has no other cells and in one that has all cells of the space: cells that
are not drawn should cost nothing. Then the batch is doubled twice: the time of an image should not grow.
"""

from dataclasses import replace

import torch

from distilnas.bench.by_hand import loop_by_hand
from distilnas.bench.distill import Case, make_states
from distilnas.bench.report import Report
from distilnas.bench.settings import BenchSettings
from distilnas.bench.timing import interleave, medians
from distilnas.methods.dna import DistillSettings
from distilnas.methods.dna.distill import BlockwiseTraining
from distilnas.methods.dna.sampling import Path
from distilnas.runtime.seeds import torch_seed
from distilnas.space import SearchSpace, preset
from distilnas.supernet import build_supernet
from distilnas.teachers import TeacherBlocks, create_teacher, propose
from distilnas.training import OptimSettings

CASE = Case(teacher="cifar_resnet", space="small-images", resolution=32, cpu=64, cuda=256, num_classes=10)
TAPS = [f"stages.{stage}.{block}" for stage in range(3) for block in range(2)]
TIMES = (1, 2, 4)
ONE, ALL = "cells drawn", "all cells"


class LastCells(BlockwiseTraining):
    """Trains in every step the same path of every block's last cell."""

    def paths(self, block: int, epoch: int, step: int) -> list[list[Path]]:
        families = self.specs[block].families
        return [*([] for _ in families[1:]), [(0,) * len(families[-1].shape)]]


def run(name: str, settings: BenchSettings) -> Report:
    """Time steps in both supernets, and in the larger one with twice and four times as many images."""
    images = settings.images(cpu=CASE.cpu, cuda=CASE.cuda, quick=CASE.quick)
    whole = preset(CASE.space)
    last = last_cells(whole)
    one, every = training(last, settings), training(whole, settings)
    with torch_seed(0):
        batch = torch.randn(images * max(TIMES), 3, CASE.resolution, CASE.resolution)
    labels = torch.zeros(len(batch), dtype=torch.int64)
    batches = {f"{ALL}, {times * images} images": times * images for times in TIMES}
    steps = {ONE: lambda: one.step((batch[:images], labels[:images]), 0, 0)} | {
        label: lambda n=number: every.step((batch[:n], labels[:n]), 0, 0) for label, number in batches.items()
    }
    times = interleave(steps, turns=settings.turns, lead=settings.lead)
    seconds = medians(times)
    return Report(
        name=name,
        what=f"a distillation step on {CASE.resolution} px, teacher {CASE.teacher}, space {CASE.space}, a path a block",
        times=times,
        work=(images, "images"),
        ours=next(iter(batches)),
        baseline=ONE,
        facts={
            "batch": images,
            "cells": {ONE: sum(len(b.families) for b in last.body), ALL: sum(len(b.families) for b in whole.body)},
            "milliseconds_per_image": {label: 1e3 * seconds[label] / number for label, number in batches.items()},
        },
    )


def last_cells(space: SearchSpace) -> SearchSpace:
    """The space with the last cell of each block alone."""
    return replace(space, blocks=tuple(replace(block, families=block.families[-1:]) for block in space.blocks))


def training(space: SearchSpace, settings: BenchSettings) -> LastCells:
    """The training of a supernet of ``space``, the optimisers' states made."""
    with torch_seed(0):
        teacher = create_teacher(CASE.teacher, num_classes=CASE.num_classes)
    partition = propose(teacher, CASE.resolution, TAPS)
    supernet = build_supernet(space, tuple(tap.channels for tap in partition.taps), adapters="linear", seed=0)
    optim = OptimSettings(optimizer="adam", lr=1e-3, schedule="none")
    asked = DistillSettings(adapters="linear", cells_per_step=1, optim=optim, epochs=1)
    device = settings.device("bf16-mixed")
    blocks = TeacherBlocks(device.module(teacher), partition)
    made = LastCells(supernet, blocks, asked, loop_by_hand(), device=device, seed=0)
    make_states(made.optimizers.values())
    return made
