"""Distances from a teacher: the identity with channel correlations, all kinds at nothing and at something, taps."""

import math
from typing import Any

import pytest
import torch
from tiny_dnad import SIZE, tiny_teacher
from torch import Tensor, nn

from distilnas.errors import UsageError
from distilnas.methods.dnad import KINDS, ImitationSettings
from distilnas.methods.dnad.imitation import Imitation, choose_taps, feature_distance, soft_distance
from distilnas.teachers import Partition, Tap, TeacherBlocks, propose

WIDTHS, GRIDS = (16, 32, 64), ((16, 16), (8, 8), (4, 4))
ONE_POINT = ImitationSettings(ratios=(1.0, 0.0, 0.0))


def _noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _imitation(teacher: TeacherBlocks | None = None, seed: int = 0, **changes: Any) -> Imitation:
    return Imitation(ImitationSettings(**changes), teacher or tiny_teacher(), WIDTHS, GRIDS, seed=seed)


def _maps(seed: int = 0) -> list[Tensor]:
    return [_noise(4, width, *grid, seed=seed + i) for i, (width, grid) in enumerate(zip(WIDTHS, GRIDS, strict=True))]


@pytest.mark.parametrize(("rho", "expected"), [(1.0, 0.0), (0.0, 2.0), (0.6, 0.8), (-1.0, 4.0)])
def test_features_measure_correlation(rho: float, expected: float) -> None:
    """2 (1 - rho) for channels with that correlation, whatever their scales and means."""
    x, y = _noise(16, 5, 24, 24), _noise(16, 5, 24, 24, seed=1)
    student = 3 * (rho * x + math.sqrt(1 - rho**2) * y) - 7
    found = feature_distance([(student, 0.1 * x + 2)] * 3, ONE_POINT)
    assert float(found) == pytest.approx(expected, abs=0.05 if rho not in (1, -1) else 1e-2)


def test_features_are_the_mean_correlation_of_channels() -> None:
    """Exactly, against numbers from a loop over the channels."""
    student, teacher = _noise(4, 3, 5, 5), _noise(4, 3, 5, 5, seed=1) + 0.5 * _noise(4, 3, 5, 5)
    pairs = [torch.stack([student[:, c].flatten(), teacher[:, c].flatten()]) for c in range(3)]
    rho = sum(float(torch.corrcoef(pair)[0, 1]) for pair in pairs) / 3
    assert float(feature_distance([(student, teacher)] * 3, ONE_POINT)) == pytest.approx(2 * (1 - rho), abs=1e-4)


def test_ratios_weigh_the_points() -> None:
    same, other = _noise(4, 3, 5, 5), -_noise(4, 3, 5, 5)
    settings = ImitationSettings(ratios=(0.2, 0.3, 0.5))
    found = feature_distance([(same, same), (same, other), (same, same)], settings)
    assert float(found) == pytest.approx(0.3 * 4, abs=1e-3)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_teacher_itself_is_at_distance_0(kind: str) -> None:
    teacher, images = tiny_teacher(), _noise(4, 3, SIZE, SIZE)
    imitation = Imitation(ImitationSettings(kind=kind), teacher, (6, 10, 12), GRIDS, seed=0)
    for i, adapter in enumerate(imitation.adapters):
        if isinstance(adapter, nn.Conv2d):
            assert adapter.weight.shape == ((6, 10, 12)[i],) * 2 + (1, 1)
            adapter.weight.data = torch.eye(len(adapter.weight))[:, :, None, None]
    maps, logits = teacher.features(images)[1:], teacher.logits(images)
    assert float(imitation(images, maps, logits).detach()) == pytest.approx(0, abs=1e-4)
    assert float(imitation(images, [-m.roll(1, 0) for m in maps], -logits).detach()) > 0.01


@pytest.mark.parametrize(("kind", "adapters"), [("feature", 3), ("factor", 1), ("attention", 0), ("soft", 0)])
def test_adapters_by_kind(kind: str, adapters: int) -> None:
    """1x1 convolutions with bias to the teacher's width, and nothing of the teacher among the parameters."""
    imitation = _imitation(kind=kind)
    widths = list(zip(WIDTHS, (6, 10, 12), strict=True))[3 - adapters :]
    assert sum(p.numel() for p in imitation.parameters()) == sum(own * their + their for own, their in widths)
    images = _noise(4, 3, SIZE, SIZE)
    maps = [m.requires_grad_() for m in _maps()]
    logits = _noise(4, 4).requires_grad_()
    imitation(images, maps, logits).backward()
    reached = [m.grad is not None and bool(m.grad.any()) for m in maps]
    by_kind = {"feature": [True] * 3, "attention": [True] * 3, "factor": [False, False, True], "soft": [False] * 3}
    assert reached == by_kind[kind]
    assert (logits.grad is not None) == (kind == "soft")
    trained = [p.grad is not None for p in imitation.parameters()]
    assert len(trained) == 2 * adapters
    assert all(trained)


def test_the_seed_determines_the_adapters() -> None:
    weights = [next(iter(_imitation(seed=seed).parameters())) for seed in (0, 0, 1)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_soft_distance() -> None:
    """T^2 sum p log(p / q), the mean over images; by hand for two classes."""
    student, teacher = torch.tensor([[4.0, 0.0]]), torch.tensor([[0.0, 0.0]])
    q = 1 / (1 + math.exp(-1))
    expected = 16 * (0.5 * math.log(0.5 / q) + 0.5 * math.log(0.5 / (1 - q)))
    assert float(soft_distance(student, teacher, 4.0)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("kind", "default"), [("attention", 1000), ("factor", 100)])
def test_beta(kind: str, default: int) -> None:
    images, maps, logits = _noise(4, 3, SIZE, SIZE), _maps(), _noise(4, 4)
    standard, once = (float(_imitation(kind=kind, beta=beta)(images, maps, logits).detach()) for beta in (None, 1.0))
    assert standard == pytest.approx(default * once, rel=1e-5)


@pytest.mark.parametrize("grids", [((32, 32), (16, 16), (8, 8)), ((8, 8), (4, 4), (2, 2)), ((5, 5), (3, 3), (2, 2))])
def test_other_sizes_are_pooled(grids: tuple[tuple[int, int], ...]) -> None:
    """Doubled maps of the teacher are its own again; and any whole sizes pass."""
    teacher, images = tiny_teacher(), _noise(4, 3, SIZE, SIZE)
    imitation = Imitation(ImitationSettings(kind="attention"), teacher, (6, 10, 12), grids, seed=0)
    features = teacher.features(images)[1:]
    maps = [nn.functional.interpolate(f, size=grid) for f, grid in zip(features, grids, strict=True)]
    found = float(imitation(images, maps, _noise(4, 4)))
    assert found == pytest.approx(0, abs=1e-5) if grids[0][0] == 32 else found > 0


def test_the_larger_map_is_averaged() -> None:
    """A supernet's maps of twice the side count as their averages over 2 x 2."""
    teacher, images, logits = tiny_teacher(), _noise(4, 3, SIZE, SIZE), _noise(4, 4)
    large = [_noise(4, width, 2 * side, 2 * side) for width, (side, _) in zip(WIDTHS, GRIDS, strict=True)]
    settings, grids = ImitationSettings(kind="attention"), [(2 * side, 2 * side) for side, _ in GRIDS]
    found = Imitation(settings, teacher, WIDTHS, grids, seed=0)(images, large, logits)
    averaged = [nn.functional.avg_pool2d(m, 2) for m in large]
    torch.testing.assert_close(found, _imitation(teacher, kind="attention")(images, averaged, logits))


def _partition(*sides: int, widths: tuple[int, ...] | None = None) -> Partition:
    taps = tuple(
        Tap(path=f"t{i}", channels=8, height=side, width=(widths or sides)[i], reduction=1)
        for i, side in enumerate(sides)
    )
    return Partition(taps=taps, policy="explicit", image_shape=(3, 224, 224))


@pytest.mark.parametrize(
    ("sides", "wanted", "expected"),
    [
        ((112, 56, 28, 14, 14, 7), (28, 14, 7), (2, 4, 5)),  # of equal ones the later
        ((14, 14, 14, 14), (28, 14, 7), (1, 2, 3)),  # a vision transformer
        ((56, 28, 14), (28, 14, 7), (0, 1, 2)),
        ((32, 16, 16, 8, 8, 4), (32, 16, 8), (0, 2, 4)),
    ],
)
def test_taps_by_resolution(sides: tuple[int, ...], wanted: tuple[int, ...], expected: tuple[int, ...]) -> None:
    assert choose_taps(_partition(*sides), None, [(side, side) for side in wanted]) == expected


def test_taps_by_name() -> None:
    partition, grids = _partition(56, 28, 14, 7), [(28, 28), (14, 14), (7, 7)]
    assert choose_taps(partition, ("t0", "t1", "t3"), grids) == (0, 1, 3)
    for names, said in (
        (("t0", "t1", "x9"), "no tap 'x9'"),
        (("t1", "t0", "t2"), "order"),
        (("t1", "t1", "t2"), "order"),
    ):
        with pytest.raises(UsageError, match=said):
            choose_taps(partition, names, grids)


def test_what_cannot_be_matched() -> None:
    with pytest.raises(UsageError, match="has 2 taps"):
        choose_taps(_partition(28, 14), None, [(28, 28), (14, 14), (7, 7)])
    crossed = _partition(28, 14, 7, widths=(28, 14, 9))
    with pytest.raises(UsageError, match=r"'t2' is 7 x 9 and the supernet's 8 x 8"):
        choose_taps(crossed, None, [(28, 28), (14, 14), (8, 8)])
    with pytest.raises(UsageError, match="4 classes and the teacher 7"):
        _imitation(tiny_teacher(classes=7), kind="soft")(_noise(4, 3, SIZE, SIZE), _maps(), _noise(4, 4))
    one = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(UsageError, match="at least three"):
        _imitation(TeacherBlocks(one, propose(one, SIZE, ["0", "1"])))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "featur"}, "feature"),
        ({"kappa": -1.0}, "kappa"),
        ({"temperature": 0.0}, "temperature"),
        ({"beta": 0.0}, "beta"),
        ({"ratios": (0.1, 0.2)}, "three weights"),
    ],
)
def test_settings_out_of_range(changes: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        ImitationSettings(**changes)
