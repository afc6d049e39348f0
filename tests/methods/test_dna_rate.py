"""Rating against a naive evaluation of every path from the start, written here in NumPy; additivity on top of it."""

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from killing import assert_same, states
from scipy.special import softmax
from scipy.stats import kendalltau, spearmanr
from tiny_dna import DEVICE, OPS, Pairs, repeatable, some_batches, tiny_space, tiny_supernet, tiny_teacher
from torch import nn

from distilnas.errors import UsageError
from distilnas.methods.dna import METRICS, RateSettings, measure_additivity, rate
from distilnas.runtime.device import Device
from distilnas.runtime.progress import SilentProgress
from distilnas.space import Candidate
from distilnas.supernet import SuperCell, Supernet
from distilnas.tables import RatingTable
from distilnas.teachers import TeacherBlocks


def _rate(
    supernet: Supernet,
    pairs: Pairs,
    teacher: TeacherBlocks | None = None,
    metric: str = "relative_l1",
    device: Any = DEVICE,
    stitch_batch: int = 32,
) -> RatingTable:
    settings = RateSettings(metric=metric, images=12, batch_size=4, stitch_batch=stitch_batch)
    source = teacher or tiny_teacher()
    return rate(supernet, source, repeatable(pairs), settings, device=device, progress=SilentProgress())


def _labelled(pairs: Pairs) -> Pairs:
    """``some_batches`` with labels of both classes."""
    return [(images, torch.tensor([0, 1, 1, 0]).roll(i)) for i, (images, _) in enumerate(pairs)]


@torch.no_grad()
def _naive(
    supernet: Supernet, parts: list[nn.Module], pairs: Pairs, b: int, c: int, path: tuple[int, ...], metric: str
) -> np.ndarray:
    """(images,) scores of one candidate: entry and ``SuperCell.forward`` anew for each batch.

    ``parts`` are the teacher's modules in order, of which those behind block b follow a stitched candidate.
    """
    block: Any = supernet.blocks[b]
    outputs, targets, logits, own = [], [], [], []
    for images, _ in pairs:
        fed = nn.Sequential(*parts[:b])(images)
        outputs.append(block.cells[c](block.entry(fed), path))
        targets.append(parts[b](fed))
        logits.append(nn.Sequential(*parts[b + 1 :])(outputs[-1]))
        own.append(nn.Sequential(*parts)(images))
    s, y, z, t = (torch.cat(parts).double().numpy() for parts in (outputs, targets, logits, own))
    labels = torch.cat([labels for _, labels in pairs]).numpy()
    p, q = softmax(t, axis=1), softmax(z, axis=1)
    images = np.arange(len(labels))
    cosines = (s * y).sum(1) / np.linalg.norm(s, axis=1) / np.linalg.norm(y, axis=1)
    scores = {
        "relative_l1": np.abs(s - y).mean((1, 2, 3)) / y.std(),
        "relative_mse": np.square(s - y).mean((1, 2, 3)) / y.var(),
        "channel_mse": (np.square(s - y).mean((2, 3)) / y.var((0, 2, 3))).mean(1),
        "cosine": 1 - cosines.mean((1, 2)),
        "kl": (p * np.log(p / q)).sum(1),
        "logit_mse": np.square(z - t).mean(1) / t.var(),
        "ce": np.log(p[images, labels] / q[images, labels]),
    }
    return scores[metric.removeprefix("stitched_").removeprefix("sqrt_")]


@pytest.mark.parametrize("metric", METRICS)
def test_every_candidate_as_evaluated_alone(metric: str) -> None:
    supernet, pairs = tiny_supernet(trained=True), _labelled(some_batches())
    parts = list(tiny_teacher().model.children())
    table = _rate(supernet, pairs, metric=metric)
    assert table.num_rated == supernet.space.num_candidates == 2 * (9 + 2)
    assert table.num_images == 12
    assert table.metric == metric
    table.check(supernet.space)
    for b, block in enumerate(supernet.space.body):
        for c, cell in enumerate(block.cells):
            found = table.cells[b][c]
            for path in itertools.product(*map(range, cell.shape)):
                images = _naive(supernet, parts, pairs, b, c, path, metric)
                mean, error = images.mean(), images.std(ddof=1) / np.sqrt(12)
                batches = images.reshape(3, 4).mean(1)
                if "sqrt" in metric:
                    error, batches = error / (2 * np.sqrt(mean)), np.sqrt(mean) + (batches - mean) / (2 * np.sqrt(mean))
                    mean = np.sqrt(mean)
                assert found.mean[path] == pytest.approx(mean, rel=1e-4, abs=1e-7)
                assert found.stderr[path] == pytest.approx(error, rel=1e-3)
                assert found.batches[(slice(None), *path)] == pytest.approx(batches, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize(("stitch_batch", "calls"), [(1, 22), (11, 12), (12, 8), (1000, 2)])
def test_candidates_share_calls_of_the_teachers_rest(stitch_batch: int, calls: int) -> None:
    """Groups of 1, 2, 3 or all of a block's 11 candidates, 4 images each, also across cells."""
    supernet, pairs, teacher = tiny_supernet(trained=True), some_batches(1), tiny_teacher()
    pairs += some_batches(1, seed=6)
    asked: list[int] = []
    forward_from = teacher.forward_from

    def counted(i: int, feature: torch.Tensor, like_images: torch.Tensor) -> torch.Tensor:
        asked.append(len(feature))
        assert len(like_images) == 4  # the batch itself, which may stand for several candidates
        return forward_from(i, feature, like_images)

    teacher.forward_from = counted  # type: ignore[method-assign]
    table = _rate(supernet, pairs, teacher, "stitched_kl", stitch_batch=stitch_batch)
    assert len(asked) == 2 * 2 + 2 * calls  # for each block two to see that its feature is read
    assert sum(asked[4:]) == 2 * 22 * 4
    alone = _rate(supernet, pairs, metric="stitched_kl", stitch_batch=1)
    for x, y in zip(itertools.chain(*table.cells), itertools.chain(*alone.cells), strict=True):
        np.testing.assert_allclose(x.mean, y.mean, rtol=1e-4, atol=1e-7)


def test_labels_beyond_the_teachers_classes_are_refused() -> None:
    pairs = [(images, labels + 2) for images, labels in some_batches()]
    with pytest.raises(UsageError, match="has 2 and there is a label 2"):
        _rate(tiny_supernet(trained=True), pairs, metric="stitched_ce")
    _rate(tiny_supernet(trained=True), pairs, metric="stitched_kl")


def test_a_teacher_without_logits_is_refused_when_stitched() -> None:
    maps = nn.Sequential(*list(tiny_teacher().model.children())[:2], nn.Conv2d(10, 2, 1))
    teacher = TeacherBlocks(maps, tiny_teacher().partition)
    with pytest.raises(UsageError, match="compares logits"):
        _rate(tiny_supernet(trained=True), some_batches(), teacher, "stitched_kl")


def test_order_of_batches_does_not_matter() -> None:
    supernet, pairs = tiny_supernet(trained=True), some_batches()
    one, other = _rate(supernet, pairs), _rate(supernet, pairs[::-1])
    for x, y in zip(itertools.chain(*one.cells), itertools.chain(*other.cells), strict=True):
        np.testing.assert_allclose(x.mean, y.mean, rtol=1e-6)
        np.testing.assert_allclose(x.batches, y.batches[::-1], rtol=1e-6)


@pytest.mark.parametrize(("metric", "training"), [*((metric, True) for metric in METRICS), ("stitched_kl", False)])
def test_nothing_of_supernet_and_teacher_changes(metric: str, training: bool) -> None:
    supernet, teacher = tiny_supernet(trained=True).train(training), tiny_teacher()
    supernet.blocks[0].eval()
    before, modes = states(supernet), [module.training for module in supernet.modules()]
    teachers = states(teacher)
    _rate(supernet, some_batches(), teacher, metric)
    assert_same(states(supernet), before)
    assert_same(states(teacher), teachers)
    assert not any(module.training for module in teacher.modules())
    assert [module.training for module in supernet.modules()] == modes
    assert all(parameter.grad is None and parameter.requires_grad for parameter in supernet.parameters())


def test_shared_prefixes_need_1554_op_evaluations_a_batch() -> None:
    """6 + 6^2 + 6^3 + 6^4 = 1,554: the nodes of the tree of paths below its root."""
    space = tiny_space()
    first, _, head = space.blocks
    cell = replace(first.cells[0], layers=(OPS,) * 4)
    space = replace(space, blocks=(replace(first, families=(cell,)), head))
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


@pytest.mark.parametrize("metric", ["relative_l1", "stitched_sqrt_logit_mse"])
def test_mixed_precision_rates_nearly_the_same(metric: str) -> None:
    """bfloat16 has 8 significant bits: a few parts in a hundred on a mean of absolute values."""
    supernet, pairs = tiny_supernet(trained=True), some_batches()
    exact, mixed = (_rate(supernet, pairs, metric=metric, device=d) for d in (DEVICE, Device("cpu", "bf16-mixed")))
    for x, y in zip(itertools.chain(*exact.cells), itertools.chain(*mixed.cells), strict=True):
        np.testing.assert_allclose(x.mean, y.mean, rtol=0.05)


@pytest.mark.parametrize(
    "changes", [{"metric": "relative_l2"}, {"batch_size": 1}, {"images": 100, "batch_size": 64}, {"stitch_batch": 0}]
)
def test_settings_are_checked(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        RateSettings(**changes)


def test_a_block_that_the_teachers_output_passes_by_is_refused_when_stitched() -> None:
    """As behind the last block of a transformer, whose head reads the class token: here the logits are of block 1."""
    teacher = tiny_teacher()
    forward_from = teacher.forward_from

    def passing_by(i: int, feature: torch.Tensor, like_images: torch.Tensor) -> torch.Tensor:
        return teacher.logits(like_images) if i == 2 else forward_from(i, feature, like_images)

    teacher.forward_from = passing_by  # type: ignore[method-assign]
    with pytest.raises(UsageError, match="after block 2 it does not"):
        _rate(tiny_supernet(trained=True), some_batches(), teacher, "stitched_kl")
    _rate(tiny_supernet(trained=True), some_batches(), teacher, "relative_l1")


def _every_choice(supernet: Supernet) -> list[tuple[Candidate, ...]]:
    return list(supernet.space.choices())


@pytest.mark.parametrize("metric", METRICS)
def test_one_block_is_additive(metric: str) -> None:
    """With one block, assembled path and rated candidate are the same network on the same images."""
    supernet, pairs = tiny_supernet(tiny_space(blocks=1), trained=True), some_batches()
    teacher = _teacher_of_one_block()
    table = _rate(supernet, pairs, teacher, metric)
    choices = _every_choice(supernet)
    solution = choices[4]
    found = measure_additivity(supernet, teacher, table, [solution, *choices], repeatable(pairs), device=DEVICE)
    assert found.measured == pytest.approx(found.predicted, rel=1e-4, abs=1e-6)
    assert found.predicted[0] == table.cells[0][solution[0].cell].mean[solution[0].path]
    assert found.kendall_tau == pytest.approx(1, abs=0.1)


def _teacher_of_one_block() -> TeacherBlocks:
    """A teacher that shows its first block only, so that a supernet of one block imitates its last feature."""
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
        for n, (first, second, head) in enumerate(choices):
            blocks: Any = supernet.blocks
            outputs = []
            for x, _ in pairs:
                x = blocks[0].cells[first.cell](blocks[0].entry(x), first.path)
                outputs.append(blocks[1].cells[second.cell](blocks[1].entry(x), second.path).numpy())
            expected = np.abs(np.concatenate(outputs) - targets).mean() / targets.std()
            assert found.measured[n] == pytest.approx(expected, rel=1e-6)
            assert found.predicted[n] == pytest.approx(table.total((first, second, head)))
    assert found.kendall_tau == pytest.approx(kendalltau(found.predicted, found.measured)[0])
    assert found.spearman_rho == pytest.approx(spearmanr(found.predicted, found.measured)[0])
    few = measure_additivity(supernet, teacher, table, choices[:2], repeatable(pairs), device=DEVICE)
    assert (few.kendall_tau, few.spearman_rho) == (None, None)
    assert isinstance(supernet.blocks[0].cells[0], SuperCell)  # type: ignore[union-attr,index]
