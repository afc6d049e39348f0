"""DARTS networks: wiring against an independent walk, drop-path, auxiliary heads, training steps."""

import pytest
import torch
from darts_samples import cells_of, cellwise, repeated
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from distilnas.errors import UsageError
from distilnas.networks import StudentNet
from distilnas.networks.darts import (
    AuxiliaryHead,
    Cell,
    DartsNet,
    build_network,
    genotype_names,
    published_architecture,
)
from distilnas.space import Architecture
from distilnas.space.darts import CellwiseGenotype, DartsArchitecture, plan_cells


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def small(genotype: CellwiseGenotype, stem: str = "cifar", **kwargs) -> DartsNet:
    architecture = DartsArchitecture(genotype=genotype, stem=stem, width=4, num_cells=len(genotype.cells))
    return DartsNet(architecture, num_classes=3, **kwargs)


def walk(net: DartsNet, images: Tensor) -> Tensor:
    """The last map, computed backwards: a cell asks for its inputs, an edge is looked up by its name."""
    stem0 = net.stem0(images)
    done = {-2: stem0, -1: net.stem1(stem0)}

    def output(k: int) -> Tensor:
        if k not in done:
            cell = net.cells[str(k)]
            assert isinstance(cell, Cell)
            graph = net.architecture.genotype.expand(net.architecture.num_cells).cells[k]
            enter = (cell.preprocess0, cell.preprocess1)
            states = {i: enter[i](output(k - 2 + i)) for i in graph.reads}  # type: ignore[misc]
            for number, node in enumerate(graph.nodes):
                ops: dict[str, nn.Module] = dict(cell.nodes[number].named_children())
                terms = [ops[f"{e.op}_from{e.input}"](states[e.input]) for e in node]
                states[number + 2] = torch.stack(terms).sum(0)
            done[k] = torch.cat([states[s] for s in graph.concat], dim=1)
        return done[k]

    return output(net.architecture.num_cells - 1)


@given(cellwise(most=7), st.sampled_from(("cifar", "imagenet")))
@settings(max_examples=15, deadline=None)
def test_wiring_with_dead_cells_against_a_walk(genotype, stem):
    net = small(genotype, stem).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        features = net.forward_features(images)
        torch.testing.assert_close(features, walk(net, images))
        assert features.shape[1] == net.num_features
        expected = net.classifier(features.mean(dim=(2, 3)))
        torch.testing.assert_close(net(images), expected)


@pytest.mark.parametrize("variant", ["cifar10", "imagenet"])
@pytest.mark.parametrize("name", genotype_names())
def test_every_published_network_takes_a_training_step(name, variant):
    """Forward and backward at 32 pixels, with the auxiliary loss; every parameter gets a finite gradient."""
    architecture = published_architecture(name, variant, width=4, num_cells=6)
    net = build_network(architecture, num_classes=5, auxiliary=True, drop_path_rate=0.1)
    assert isinstance(net, DartsNet)
    logits, auxiliary = net.forward_with_auxiliary(torch.randn(8, 3, 32, 32))
    assert logits.shape == auxiliary.shape == (8, 5)
    labels = torch.arange(8) % 5
    loss = nn.functional.cross_entropy(logits, labels) + 0.4 * nn.functional.cross_entropy(auxiliary, labels)
    loss.backward()
    for key, parameter in net.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key


def test_both_forms_of_a_genotype_are_the_same_network():
    darts = published_architecture("pc_darts_cifar", "cifar10", width=4, num_cells=5)
    genotype = darts.genotype.expand(5)
    first, second = (
        DartsNet(a, num_classes=3).eval()
        for a in (darts, DartsArchitecture(genotype=genotype, stem="cifar", width=4, num_cells=5))
    )
    second.load_state_dict(first.state_dict())
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(first(images), second(images))


def test_dropping_unused_preprocessing_changes_no_output():
    genotype = repeated("s3-1 | sk-1 mp-2", 5)
    kept, dropped = (
        DartsNet(DartsArchitecture(genotype=genotype, stem="cifar", width=4, num_cells=5, drop_unused=drop)).eval()
        for drop in (False, True)
    )
    state = kept.state_dict()
    assert set(state) - set(dropped.state_dict()) == {key for key in state if "preprocess0" in key}
    dropped.load_state_dict({key: state[key] for key in dropped.state_dict()})
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(kept(images), dropped(images))


def drop_path_cell(rate: float) -> Cell:
    """Output = preprocessed c_{k-1} + its average pool; only drop-path is in training mode."""
    genotype = CellwiseGenotype(cells=cells_of("sk-1 ap-1 ; s3-0 s3-1 ; s3-0 s3-1"))
    net = small(genotype, drop_path_rate=rate).eval()
    cell = net.cells["0"]
    assert isinstance(cell, Cell)
    cell.drop_path.train()
    return cell


def test_drop_path_is_per_sample_and_spares_identities():
    cell = drop_path_cell(0.25)
    x = torch.randn(400, 12, 4, 4)
    assert cell.preprocess1 is not None
    with torch.no_grad():
        entered = cell.preprocess1(x)
        pooled = nn.functional.avg_pool2d(entered, 3, 1, 1, count_include_pad=False)
        dropped = cell(x, x) - entered
    shares = (dropped * pooled).sum(dim=(1, 2, 3)) / (pooled**2).sum(dim=(1, 2, 3))
    keep = shares > 0.5
    torch.testing.assert_close(shares, torch.where(keep, 1 / 0.75, 0.0), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(dropped, shares[:, None, None, None] * pooled, atol=1e-4, rtol=1e-4)
    assert 0.65 < keep.float().mean() < 0.85  # 0.75 +- 0.02


def test_drop_path_rate_is_settable_and_off_in_evaluation():
    net = small(repeated("s3-0 s3-1 | mp-2", 4))
    images = torch.randn(4, 3, 16, 16)
    assert net.drop_path_rate == 0
    net.drop_path_rate = 0.5
    assert {cell.drop_path.drop_prob for cell in net.cells.values()} == {0.5}  # type: ignore[union-attr]
    net.eval()
    assert torch.equal(net(images), net(images))
    for cell in net.cells.values():
        cell.drop_path.train()  # type: ignore[union-attr]
    assert not torch.equal(net(images), net(images))
    net.drop_path_rate = 0.0
    assert torch.equal(net(images), net(images))
    for rate in (1.0, -0.1):
        with pytest.raises(UsageError, match="drop_path_rate must be from 0 up to 1"):
            net.drop_path_rate = rate


def test_auxiliary_logits_only_when_asked_for():
    net = small(repeated("s3-0 s3-1", 6), auxiliary=True)
    images = torch.randn(4, 3, 32, 32)
    assert net.train()(images).shape == (4, 3)
    assert net.eval()(images).shape == (4, 3)
    logits, auxiliary = net.forward_with_auxiliary(images)
    torch.testing.assert_close(logits, net(images))
    maps: list[Tensor] = []
    net.cells["4"].register_forward_hook(lambda _module, _inputs, output: maps.append(output))
    net(images)
    assert net.auxiliary is not None
    torch.testing.assert_close(auxiliary, net.auxiliary(maps[0]))
    with pytest.raises(UsageError, match="build it with auxiliary=True"):
        small(repeated("s3-0 s3-1", 6)).forward_with_auxiliary(images)


def test_the_auxiliary_head_takes_the_next_cell_where_its_own_is_dead():
    genotype = CellwiseGenotype(cells=cells_of("s3-1;s3-1;s3-1;s3-1;s3-1;s3-0"))
    net = small(genotype, auxiliary=True)
    assert [plan.index for plan in plan_cells(net.architecture)] == [0, 1, 2, 3, 5]
    assert net.auxiliary_index == 5
    assert net.forward_with_auxiliary(torch.randn(2, 3, 32, 32))[1].shape == (2, 3)


@pytest.mark.parametrize(("kind", "side", "stride"), [("cifar", 8, 3), ("imagenet", 7, 2)])
def test_auxiliary_heads_as_published(kind, side, stride):
    """The layers of the released code, one after the other."""
    head = AuxiliaryHead(kind, 6, 4).eval()
    layers: list[nn.Module] = [nn.ReLU(), nn.AvgPool2d(5, stride, count_include_pad=False), head.conv1, head.bn1]
    layers += [nn.ReLU(), head.conv2, *([head.bn2] if kind == "cifar" else []), nn.ReLU(), nn.Flatten()]
    x = torch.randn(2, 6, side, side)
    torch.testing.assert_close(head(x), nn.Sequential(*layers, head.classifier)(x))
    assert isinstance(head.bn2, nn.BatchNorm2d) == (kind == "cifar")
    for other in (1, 2, 6, 14):
        assert head(torch.randn(2, 6, other, other)).shape == (2, 4)


def test_build_network_dispatches_on_the_kind_of_architecture():
    dna = Architecture.parse("stem 8/2 relu | 16/2 mb_k3_e3_relu | head 32 relu")
    assert isinstance(build_network(dna, num_classes=3), StudentNet)
    darts = published_architecture("darts_v1", "cifar10", width=4, num_cells=3)
    net = build_network(darts, num_classes=3, in_chans=1)
    assert isinstance(net, DartsNet)
    assert net.eval()(torch.rand(1, 1, 16, 16)).shape == (1, 3)
