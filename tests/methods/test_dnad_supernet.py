"""The supernet of the DARTS family: published sizes, equality with derived networks, deletion."""

from typing import Any

import pytest
import torch
from killing import states
from tiny_dnad import CLASSES, SIZE, SPACE, tiny_supernet
from torch import nn

from distilnas.costing import profile
from distilnas.methods.dnad import SearchNet, build_supernet
from distilnas.networks.darts import DartsNet
from distilnas.space.darts.space import NODES, PRIMITIVE_SETS, DartsSpace


def _images(number: int = 4) -> torch.Tensor:
    return torch.randn(number, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def _mask(share: float, seed: int) -> torch.Tensor:
    """Which candidates stay: some, but at least one a node."""
    generator = torch.Generator().manual_seed(seed)
    chance = torch.rand(SPACE.rows, SPACE.columns, generator=generator)
    sizes = torch.tensor([len(node) for node in SPACE.candidates]).repeat(SPACE.num_cells)[:, None]
    exists = torch.arange(SPACE.columns) < sizes
    chance[~exists] = 2.0
    return (chance < share) | (chance == chance.min(1, keepdim=True).values)


@pytest.mark.parametrize(
    ("space", "classes", "resolution", "params", "macs"),
    [
        (DartsSpace(), 10, 32, 999_674, 154_659_328),
        (DartsSpace(stem="imagenet", width=20, num_cells=14), 1000, 224, 2_828_530, None),
        (DartsSpace(primitives=PRIMITIVE_SETS["darts8"]), 10, 32, 1_930_618, 300_255_744),
    ],
    ids=["dnad cifar", "dnad imagenet", "darts"],
)
def test_sizes_of_the_released_codes(
    space: DartsSpace, classes: int, resolution: int, params: int, macs: int | None
) -> None:
    """Counted on the authors' networks: those of DNAD (three ops) and of DARTS (eight)."""
    with torch.device("meta"):
        net = SearchNet(space, num_classes=classes)
    assert sum(p.numel() for p in net.parameters()) == params
    if macs is not None:
        assert profile(net, resolution).macs == macs


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
@pytest.mark.parametrize("share", [1.0, 0.3, 0.0])
def test_the_plain_sum_is_the_derived_network(stem: str, share: float) -> None:
    """With the same weights (a new batch norm scales by 1), in training mode, dead cells and all."""
    space = DartsSpace(stem=stem, width=4, num_cells=5, primitives=SPACE.primitives)
    keep = _mask(share, seed=2).repeat(2, 1)[: space.rows]
    net = build_supernet(space, num_classes=CLASSES, seed=0)
    net.remove((~keep).nonzero().tolist())
    derived = DartsNet(space.architecture(space.genotype(keep.tolist()), width=4), num_classes=CLASSES)
    unlike = derived.load_state_dict(net.state_dict(), strict=False)
    assert all(name.endswith(("bn.weight", "bn.bias", ".weight", ".bias")) for name in unlike.missing_keys)
    images = _images() if stem == "cifar" else torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(net(images), derived(images), rtol=1e-4, atol=1e-5)


def test_weights_are_factors_of_the_candidates() -> None:
    """Zeros and ones are removed candidates and plain sums."""
    keep = _mask(0.4, seed=3)
    net = tiny_supernet()
    weighted = net(_images(), keep.float())
    net.remove((~keep).nonzero().tolist())
    torch.testing.assert_close(weighted, net(_images()), rtol=1e-4, atol=1e-5)


def test_gradient_of_a_weight_is_that_of_its_candidate() -> None:
    """Against a finite difference in double precision."""
    net = tiny_supernet().double()
    images, weights = _images().double(), torch.full((SPACE.rows, SPACE.columns), 0.3, dtype=torch.float64)
    weights.requires_grad_()
    (gradient,) = torch.autograd.grad(net(images, weights).square().sum(), weights)
    for row, column in ((0, 3), (6, 5), (11, 9)):
        step = torch.zeros_like(weights)
        step[row, column] = 1e-6
        with torch.no_grad():
            sides = [net(images, weights + sign * step).square().sum() for sign in (1, -1)]
        assert float(gradient[row, column]) == pytest.approx(float(sides[0] - sides[1]) / 2e-6, rel=1e-4)


def _calls(net: SearchNet) -> dict[str, int]:
    """How often each candidate's module runs in a forward."""
    seen: dict[str, int] = {}
    handles = []
    for k, cell in enumerate(net.cells):
        for n, ops in enumerate(cell.nodes):  # type: ignore[union-attr,arg-type]
            for name, op in ops.items():
                key = f"{k}.{n}.{name}"
                handles.append(
                    op.register_forward_hook(lambda *_, key=key: seen.__setitem__(key, seen.get(key, 0) + 1))
                )
    net(_images())
    for handle in handles:
        handle.remove()
    return seen


def test_removed_candidates_are_not_computed() -> None:
    net = tiny_supernet()
    before = sum(p.numel() for p in net.parameters())
    assert _calls(net) == dict.fromkeys(_calls(net), 1)
    assert len(_calls(net)) == SPACE.num_candidates
    removed = net.remove([[0, 1], [6, 3]])
    assert len(_calls(net)) == SPACE.num_candidates - 2
    assert sum(p.numel() for p in removed) == before - sum(p.numel() for p in net.parameters()) > 0
    assert net.remove([[0, 1]]) == []


def test_what_nothing_reads_is_not_computed() -> None:
    """The last cell reads the one before the previous alone: the previous is dead, but points still ask for it."""
    net = tiny_supernet()
    for n, node in enumerate(SPACE.candidates):
        net.remove([2 * NODES + n, column] for column, edge in enumerate(node) if edge.input == 1)
    called = _calls(net)
    assert {key[0] for key in called} == {"0", "2"}
    ran: list[Any] = []
    last: Any = net.cells[2]
    last.preprocess1.register_forward_hook(lambda *_: ran.append(1))
    _, maps = net.forward_with_points(_images())
    assert not ran
    assert [tuple(m.shape[1:]) for m in maps] == [(16, 16, 16), (32, 8, 8), (64, 4, 4)]


def test_none_is_never_built() -> None:
    space = DartsSpace(width=4, num_cells=3, primitives=("none", "skip_connect"))
    net = build_supernet(space, num_classes=2, seed=0)
    assert not any("none" in name for name, _ in net.named_modules())
    assert not any(isinstance(m, nn.ModuleDict) and len(m) == 0 for m in net.modules())


def test_the_seed_determines_the_weights() -> None:
    one, other, third = (states(tiny_supernet(seed=seed)) for seed in (0, 0, 1))
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert not torch.equal(one["stem0.conv.weight"], third["stem0.conv.weight"])
