"""Rating against a naive evaluation of every path from the start, written here in NumPy; additivity on top of it."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau, spearmanr
from tiny_dna import (
    DEVICE,
    OPS,
    Pairs,
    assert_same,
    repeatable,
    some_batches,
    states,
    tiny_space,
    tiny_supernet,
    tiny_teacher,
)
from torch import nn

from distilnas.errors import UsageError
from distilnas.methods.dna import RateSettings, measure_additivity, rate
from distilnas.runtime.device import Device
from distilnas.runtime.progress import SilentProgress
from distilnas.space import BlockSpec, Candidate, CellSpec
from distilnas.supernet import SuperCell, Supernet
from distilnas.tables import RatingTable
from distilnas.teachers import TeacherBlocks

SETTINGS = RateSettings(images=12, batch_size=4)


def _rate(
    supernet: Supernet,
    pairs: Pairs,
    teacher: TeacherBlocks | None = None,
    metric: str = "relative_l1",
    device: Any = DEVICE,
) -> RatingTable:
    settings = RateSettings(metric=metric, images=12, batch_size=4)
    source = teacher or tiny_teacher()
    return rate(supernet, source, repeatable(pairs), settings, device=device, progress=SilentProgress())


@torch.no_grad()
def _naive(supernet: Supernet, pairs: Pairs, b: int, c: int, path: tuple[int, ...], power: int) -> np.ndarray:
    """(images,) relative distance of one candidate: entry and ``SuperCell.forward`` anew for each batch."""
    block: Any = supernet.blocks[b]
    features = [tiny_teacher().features(images) for images, _ in pairs]
    std = np.std(np.concatenate([f[b + 1].numpy() for f in features]).astype(np.float64))
    outputs = [block.cells[c](block.entry(f[b]), path) for f in features]
    apart = np.concatenate([(o - f[b + 1]).numpy() for o, f in zip(outputs, features, strict=True)])
    return (np.abs(apart) ** power).mean((1, 2, 3)) / std**power


@pytest.mark.parametrize(("metric", "power"), [("relative_l1", 1), ("relative_mse", 2)])
def test_every_candidate_as_evaluated_alone(metric: str, power: int) -> None:
    supernet, pairs = tiny_supernet(trained=True), some_batches()
    table = _rate(supernet, pairs, metric=metric)
    assert table.num_rated == supernet.space.num_candidates == 2 * (9 + 2)
    assert table.num_images == 12
    table.check(supernet.space)
    for b, block in enumerate(supernet.space.blocks):
        for c, cell in enumerate(block.cells):
            found = table.cells[b][c]
            for path in itertools.product(*map(range, cell.shape)):
                images = _naive(supernet, pairs, b, c, path, power)
                assert found.mean[path] == pytest.approx(images.mean(), rel=1e-6)
                assert found.stderr[path] == pytest.approx(images.std(ddof=1) / np.sqrt(12), rel=1e-5)
                assert found.batches[(slice(None), *path)] == pytest.approx(images.reshape(3, 4).mean(1), rel=1e-6)


def test_order_of_batches_does_not_matter() -> None:
    supernet, pairs = tiny_supernet(trained=True), some_batches()
    one, other = _rate(supernet, pairs), _rate(supernet, pairs[::-1])
    for x, y in zip(itertools.chain(*one.cells), itertools.chain(*other.cells), strict=True):
        np.testing.assert_allclose(x.mean, y.mean, rtol=1e-6)
        np.testing.assert_allclose(x.batches, y.batches[::-1], rtol=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_nothing_of_the_supernet_changes(training: bool) -> None:
    supernet = tiny_supernet(trained=True).train(training)
    supernet.blocks[0].eval()
    before, modes = states(supernet), [module.training for module in supernet.modules()]
    _rate(supernet, some_batches())
    assert_same(states(supernet), before)
    assert [module.training for module in supernet.modules()] == modes
    assert all(parameter.grad is None and parameter.requires_grad for parameter in supernet.parameters())


def test_shared_prefixes_need_1554_op_evaluations_a_batch() -> None:
    """6 + 6^2 + 6^3 + 6^4 = 1,554: the nodes of the tree of paths below its root."""
    space = tiny_space()
    cell = CellSpec(width=4, layers=(OPS,) * 4)
    space = type(space)(name="one", stem=space.stem, blocks=(BlockSpec(stride=1, cells=(cell,)),), head=space.head)
    supernet, calls = tiny_supernet(space), []
    for layer in supernet.blocks[0].cells[0].layers:  # type: ignore[union-attr,index]
        for op in layer:  # type: ignore[union-attr]
            op.register_forward_hook(lambda *_: calls.append(1))
    _rate(supernet, some_batches(2, 2))
    assert len(calls) == 2 * 1554


@pytest.mark.parametrize(("value", "words"), [(0.3, "block 2 is constant"), (float("nan"), "block 2 is not finite")])
def test_a_teacher_feature_without_content_is_refused(value: float, words: str) -> None:
    """Weights of 1e-8 move a float32 feature of 0.3 by a few units in the last place: its variance is not zero."""
    teacher = tiny_teacher()
    last: Any = teacher.model.get_submodule("1.0")
    nn.init.constant_(last.weight, 1e-8)
    nn.init.constant_(last.bias, value)
    with pytest.raises(UsageError, match=words):
        _rate(tiny_supernet(trained=True), some_batches(), teacher)


def test_a_rating_that_is_not_finite_is_refused() -> None:
    supernet = tiny_supernet(trained=True)
    cell: Any = supernet.blocks[1].cells[0]  # type: ignore[union-attr,index]
    nn.init.constant_(next(cell.layers[1][2].parameters()), float("nan"))
    with pytest.raises(UsageError, match=r"block 2, cell 1, path \(0, 2\) is not finite"):
        _rate(supernet, some_batches())


def test_mixed_precision_rates_nearly_the_same() -> None:
    """bfloat16 has 8 significant bits: a few parts in a hundred on a mean of absolute values."""
    supernet, pairs = tiny_supernet(trained=True), some_batches()
    exact, mixed = _rate(supernet, pairs), _rate(supernet, pairs, device=Device("cpu", "bf16-mixed"))
    for x, y in zip(itertools.chain(*exact.cells), itertools.chain(*mixed.cells), strict=True):
        np.testing.assert_allclose(x.mean, y.mean, rtol=0.05)


@pytest.mark.parametrize("changes", [{"metric": "relative_l2"}, {"batch_size": 1}, {"images": 100, "batch_size": 64}])
def test_settings_are_checked(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        RateSettings(**changes)


def _every_choice(supernet: Supernet) -> list[tuple[Candidate, ...]]:
    return list(supernet.space.choices())


def test_one_block_is_additive() -> None:
    """With one block, assembled path and rated candidate are the same network on the same images."""
    supernet, pairs = tiny_supernet(tiny_space(blocks=1), trained=True), some_batches()
    teacher = _first_block_of_teacher()
    table = _rate(supernet, pairs, teacher)
    choices = _every_choice(supernet)
    solution = choices[4]
    found = measure_additivity(supernet, teacher, table, [solution, *choices], repeatable(pairs), device=DEVICE)
    assert found.measured == pytest.approx(found.predicted, rel=1e-6)
    assert found.predicted[0] == table.cells[0][solution[0].cell].mean[solution[0].path]
    assert found.kendall_tau == pytest.approx(1)


def _first_block_of_teacher() -> TeacherBlocks:
    """A teacher whose partition ends with block 1, so that a supernet of one block imitates its last feature."""
    teacher = tiny_teacher()

    class First(TeacherBlocks):
        def features(self, images: torch.Tensor) -> list[torch.Tensor]:
            return super().features(images)[:2]

    return First(teacher.model, teacher.partition)


def test_additivity_of_two_blocks_against_a_plain_chain() -> None:
    supernet, pairs, teacher = tiny_supernet(trained=True), some_batches(), tiny_teacher()
    table, choices = _rate(supernet, pairs), _every_choice(supernet)[::17]
    found = measure_additivity(supernet, teacher, table, choices, repeatable(pairs), device=DEVICE)
    targets = np.concatenate([teacher.features(images)[2].numpy() for images, _ in pairs]).astype(np.float64)
    with torch.no_grad():
        for n, (first, second) in enumerate(choices):
            blocks: Any = supernet.blocks
            outputs = []
            for x, _ in pairs:
                x = blocks[0].cells[first.cell](blocks[0].entry(x), first.path)
                outputs.append(blocks[1].cells[second.cell](blocks[1].entry(x), second.path).numpy())
            expected = np.abs(np.concatenate(outputs) - targets).mean() / targets.std()
            assert found.measured[n] == pytest.approx(expected, rel=1e-6)
            assert found.predicted[n] == pytest.approx(table.total((first, second)))
    assert found.kendall_tau == pytest.approx(kendalltau(found.predicted, found.measured)[0])
    assert found.spearman_rho == pytest.approx(spearmanr(found.predicted, found.measured)[0])
    few = measure_additivity(supernet, teacher, table, choices[:2], repeatable(pairs), device=DEVICE)
    assert (few.kendall_tau, few.spearman_rho) == (None, None)
    assert isinstance(supernet.blocks[0].cells[0], SuperCell)  # type: ignore[union-attr,index]
