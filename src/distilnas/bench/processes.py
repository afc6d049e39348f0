"""``bench processes``: distillation shared by two processes of one thread, against one process.

On the CPU. Both processes hold the whole training; each takes half of every batch, and gradients are averaged. While
an alternative of one process runs, the second process waits.
"""

import multiprocessing
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist

from distilnas.bench.distill import B7, QUICK, Case, Setup, counted, make_states, our_step
from distilnas.bench.report import Report
from distilnas.bench.settings import BenchSettings
from distilnas.bench.timing import interleave
from distilnas.runtime import ranks

ONE, THREADS, TWO = "one process", "one process, two threads", "two processes"
_END = -1


def run(name: str, settings: BenchSettings) -> Report:
    """Time steps of the three alternatives."""
    settings = replace(settings, accelerator="cpu")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        second = multiprocessing.get_context("spawn").Process(target=_second, args=(settings, folder), daemon=True)
        second.start()
        _join(folder, 0)
        try:
            alone, both = _training(settings, shared=False), _training(settings, shared=True)

            def together(step: int) -> None:
                with ranks.shared(True):
                    both(ranks.from_first(lambda: step))

            def on_two_threads(step: int) -> None:
                torch.set_num_threads(2)
                alone(step)
                torch.set_num_threads(1)

            steps = {ONE: alone, THREADS: on_two_threads, TWO: together}
            works = {label: counted(work) for label, work in steps.items()}
            times = interleave(works, turns=settings.turns, lead=settings.lead)
            with ranks.shared(True):
                ranks.from_first(lambda: _END)
            second.join()
        finally:
            dist.destroy_process_group()
            torch.set_num_threads(before)
    case = _case(settings)
    batch = settings.images(cpu=case.cpu, cuda=case.cuda, quick=case.quick)
    return Report(
        name=name,
        what=f"a distillation step on {batch} images of {case.resolution} px, teacher {case.teacher}, bfloat16",
        times=times,
        work=(batch, "images"),
        ours=TWO,
        baseline=ONE,
        facts={"batch": batch},
    )


def _case(settings: BenchSettings) -> Case:
    return QUICK if settings.quick else B7


def _training(settings: BenchSettings, *, shared: bool) -> Callable[[int], object]:
    """A training's step by number, on all images of a batch or on this rank's."""
    setup = Setup(_case(settings), settings)
    training, _ = setup.ours("bf16-mixed")
    make_states(training.optimizers.values())
    with ranks.shared(shared):
        images = setup.images.chunk(ranks.world_size())[ranks.rank()]
    return lambda step: our_step(training, images, step)


def _second(settings: BenchSettings, folder: str) -> None:
    """The other process: it does the steps that it is told."""
    torch.set_num_threads(1)
    _join(folder, 1)
    step = _training(settings, shared=True)
    with ranks.shared(True):
        while (number := ranks.from_first(int)) != _END:
            step(number)
    dist.destroy_process_group()


def _join(folder: str, rank: int) -> None:
    dist.init_process_group("gloo", init_method=(Path(folder) / "meeting").as_uri(), rank=rank, world_size=2)
