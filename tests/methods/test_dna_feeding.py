"""What enters a block: S1 (finished student blocks), S2 (blocks that train too), recomputed here by hand."""

from typing import Any

import pytest
import torch
from killing import assert_same, states
from tiny_distill import NO_CHECKPOINT, distilled, entering, gradients, training_of
from tiny_dna import some_batches, tiny_loop, tiny_supernet, tiny_teacher
from torch import Tensor, nn

from distilnas.methods.dna import DistillSettings
from distilnas.methods.dna.distill import BlockwiseTraining
from distilnas.methods.dna.schedule import staged
from distilnas.runtime.device import Device
from distilnas.supernet import Supernet


@torch.no_grad()
def _outputs_of_block_1(supernet: Supernet, images: Tensor) -> dict[tuple[int, tuple[int, ...]], Tensor]:
    """(cell, path) -> output, for all of the first block's candidates."""
    block: Any = supernet.blocks[0]
    paths = [(c, (i, j)) for c in (0,) for i in range(3) for j in range(3)] + [(1, (0,)), (1, (1,))]
    return {(c, path): block.cells[c](block.entry(images), path) for c, path in paths}


def _which(outputs: dict[Any, Tensor], x: Tensor) -> Any:
    """The one candidate whose output ``x`` is."""
    (found,) = [candidate for candidate, output in outputs.items() if output.equal(x)]
    return found


def test_s1_feeds_a_block_from_the_finished_block_before_it() -> None:
    """Stage 2 sees the output of a path of block 1 as stage 1 left it; the path varies; block 1 stays as it is."""
    supernet = tiny_supernet(trained=True)
    training = training_of(supernet, feed="student", order="forward")
    loop = staged(tiny_loop(NO_CHECKPOINT), 2)
    seen, own = set(), set()
    for epoch in range(4):
        for step, batch in enumerate(loop.batches(epoch, 0)):
            outputs = _outputs_of_block_1(supernet, batch[0])
            with entering(supernet, 1) as inputs:
                training.step(batch, epoch, step)
            assert len(inputs) == (epoch > 1)
            if inputs:
                candidate = _which(outputs, inputs[0])
                seen.add((epoch % 2, step, candidate))
                own.update((epoch % 2, step, (c, path[0])) for c, path in enumerate(training.paths(0, epoch % 2, step)))
        training.end_epoch(epoch)
    assert len({candidate for *_, candidate in seen}) > 1
    assert not seen <= own  # drawn anew: not the paths that block 1 trained with the same batches
    alone, _ = distilled(feed="student", order="forward", blocks=(1,))
    assert_same(states(supernet.blocks[0]), states(alone.blocks[0]))


def test_s2_feeds_a_block_along_the_path_that_the_block_before_it_trains() -> None:
    """... with the weights before the step."""
    supernet = tiny_supernet(trained=True)
    training = training_of(supernet, feed="student")
    for step, batch in enumerate(some_batches()):
        outputs = _outputs_of_block_1(supernet, batch[0])
        with entering(supernet, 1) as inputs:
            training.step(batch, 0, step)
        cell, path = _which(outputs, inputs[0])
        assert path in training.paths(0, 0, step)[cell]


def test_the_teacher_feeds_its_own_feature() -> None:
    supernet, teacher = tiny_supernet(trained=True), tiny_teacher()
    training = training_of(supernet)
    batch = some_batches()[0]
    with entering(supernet, 1) as inputs:
        training.step(batch, 0, 0)
    assert inputs[0].equal(teacher.features(batch[0])[1])


def _gradients(feed: str, change: float = 0.0) -> list[list[Any]]:
    supernet = tiny_supernet(trained=True)
    for cell in supernet.blocks[0].cells:  # type: ignore[union-attr]
        cell.exit.weight.data += change
    training_of(supernet, feed=feed).step(some_batches()[0], 0, 0)
    return [gradients(supernet, b) for b in (0, 1)]


def _same(one: list[Any], other: list[Any]) -> bool:
    return all(a is b or torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_s2_couples_blocks_by_their_features_but_not_by_gradients() -> None:
    teacher, student = _gradients("teacher"), _gradients("student")
    assert _same(student[0], teacher[0])  # nothing is added by the loss of block 2
    assert not _same(student[1], teacher[1])
    assert not _same(_gradients("student", change=0.1)[1], student[1])
    assert _same(_gradients("teacher", change=0.1)[1], teacher[1])


@pytest.mark.parametrize("order", ["together", "forward"])
def test_the_first_block_does_not_depend_on_the_feed(order: str) -> None:
    assert_same(states(distilled(feed="student", order=order)[0].blocks[0]), states(distilled()[0].blocks[0]))


def test_s1_and_s2_differ_from_dna_and_from_each_other() -> None:
    trained = [
        distilled(feed=f, order=o)[0].blocks[1]
        for f, o in (("teacher", "together"), ("student", "together"), ("student", "forward"))
    ]
    weights = [torch.cat([v.flatten() for v in states(block).values()]) for block in trained]
    assert not any(a.equal(b) for n, a in enumerate(weights) for b in weights[:n])


def test_candidates_are_drawn_uniformly_over_cells_and_then_over_paths() -> None:
    """4.5 standard deviations around the expected counts of 1,200 draws: half to each cell, there 1/9 and 1/2."""
    training = training_of(tiny_supernet(), feed="student")
    draws = [training.candidate(0, epoch, step) for epoch in range(40) for step in range(30)]
    assert len(set(draws)) == 9 + 2
    for candidate in set(draws):
        share = 0.5 / (9, 2)[candidate[0]]
        assert abs(draws.count(candidate) - 1200 * share) < 4.5 * (1200 * share * (1 - share)) ** 0.5


def test_mixed_precision_keeps_gradients_of_blocks_that_also_feed() -> None:
    """Weights cast for the pass without gradient must not be reused for the pass with it."""
    supernet = tiny_supernet(trained=True)
    settings, loop = DistillSettings(feed="student"), tiny_loop(NO_CHECKPOINT)
    mixed = Device("cpu", "bf16-mixed")
    training = BlockwiseTraining(supernet, tiny_teacher(), settings, loop, device=mixed, seed=3)
    training.step(some_batches()[0], 0, 0)
    block: Any = supernet.blocks[0]
    for cell, (path,) in zip(block.cells, training.paths(0, 0, 0), strict=True):
        for level, op in enumerate(path):
            modules: nn.Module = cell.layers[level][op]
            assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in modules.parameters() if p.ndim == 4)
