"""Cut vertices found by dataflow, against their definition on the graph that a random network was built from."""

import math
from typing import ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from distilnas.errors import UsageError
from distilnas.teachers.probe import Probe

Inputs = list[list[int]]  # for each node the earlier values it sums: 0 is the image, k + 1 is node k


class Dag(nn.Module):
    """Convolutions on an acyclic graph; the output is that of the last node, pooled."""

    def __init__(self, inputs: Inputs) -> None:
        super().__init__()
        self.inputs = inputs
        self.nodes = nn.ModuleList(nn.Conv2d(2, 2, 3, padding=1) for _ in inputs)

    def forward(self, x: Tensor) -> Tensor:
        values = [x]
        for node, sources in zip(self.nodes, self.inputs, strict=True):
            values.append(node(torch.stack([values[source] for source in sources]).sum(0)))
        return values[-1].mean((2, 3))


@st.composite
def graphs(draw: st.DrawFn) -> Inputs:
    size = draw(st.integers(1, 6))
    return [draw(st.lists(st.integers(0, node), min_size=1, max_size=3, unique=True)) for node in range(size)]


def image_reaches_output_without(inputs: Inputs, removed: int) -> bool:
    reached = {0}
    for node, sources in enumerate(inputs):
        if node != removed and reached & set(sources):
            reached.add(node + 1)
    return len(inputs) in reached


@settings(max_examples=40, deadline=None, derandomize=True)
@given(graphs())
def test_a_module_is_a_cut_iff_the_image_cannot_reach_the_output_without_it(inputs: Inputs) -> None:
    torch.manual_seed(0)
    probe = Probe(Dag(inputs), (2, 6, 6))
    for node in range(len(inputs)):
        assert probe.calls[f"nodes.{node}"].cut is not image_reaches_output_without(inputs, node)


def test_calls_come_in_order_of_completion_with_shapes_and_convolutions() -> None:
    model = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU()), nn.Flatten(), nn.Linear(64, 2))
    probe = Probe(model, (3, 8, 8))
    assert [(call.path, call.shape, call.weighted, call.leaf) for call in probe.calls.values()] == [
        ("0.0", (4, 4, 4), 1, True),
        ("0.1", (4, 4, 4), 0, True),
        ("0", (4, 4, 4), 1, False),
        ("1", None, 0, True),
        ("2", None, 0, True),
        ("", None, 1, False),
    ]
    assert probe.weighted_between(-1, 0) == 1
    assert probe.weighted_between(0, 5) == 0


def test_a_module_that_is_called_twice_gives_no_single_map() -> None:
    conv = nn.Conv2d(3, 3, 3, padding=1)
    probe = Probe(nn.Sequential(conv, conv, nn.Conv2d(3, 3, 1)), (3, 8, 8))
    assert probe.calls["0"].shape is None
    assert probe.calls["2"].shape == (3, 8, 8)


@pytest.mark.parametrize(
    ("unflattened", "is_map"),
    [((4, 4, 6), True), ((8, 6, 6), True), ((8, 3, 3), True), ((2, 16, 4), False), ((8, 3, 12), False)],
)
def test_a_map_has_the_aspect_of_the_image(unflattened: tuple[int, int, int], is_map: bool) -> None:
    """Images of 16 x 24: maps between twice as narrow and twice as wide pass, tokens x width do not."""
    size = math.prod(unflattened)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 24, size), nn.Unflatten(1, unflattened), nn.Flatten())
    assert (Probe(model, (3, 16, 24)).calls["2"].shape is not None) is is_map


def test_collapse_names_the_first_stride_on_too_small_a_map() -> None:
    model = nn.Sequential(*(nn.Conv2d(3, 3, 3, 2, 1) for _ in range(5)))
    probe = Probe(model, (3, 4, 4))  # maps 2, 1, and then strides on one pixel
    assert probe.collapse(1) is None
    assert probe.collapse(4) == "2"


class Routed(nn.Module):
    """Asks for a value: the second path is taken for bright images."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, 2, 1)
        self.gate = nn.Conv2d(4, 4, 1)
        self.body = nn.Conv2d(4, 4, 3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        bright = self.gate(x).mean().item() > 0
        x = self.body(x)
        return (x if bright else -x).mean((2, 3))


def test_a_network_that_asks_for_values_is_run_and_what_they_steer_depends_on_them() -> None:
    model = Routed()
    probe = Probe(model, (3, 8, 8))
    assert {path: call.cut for path, call in probe.calls.items() if path} == {
        "stem": True,
        "gate": False,
        "body": False,
    }
    with pytest.raises(UsageError, match="fails on"):  # no values to run with
        Probe(model.to("meta"), (3, 8, 8))


class Watching(nn.Module):
    """Notes on which device it is computed."""

    seen: ClassVar[list[str]] = []

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.device.type)
        return self.conv(x).mean((2, 3))


def test_nothing_is_computed_but_shapes() -> None:
    Probe(Watching(), (3, 4096, 4096))
    assert Watching.seen == ["meta"]


def test_infinite_buffers_are_masks_but_no_weights() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 2))
    model.register_buffer("mask", torch.tensor([0.0, -math.inf]))
    Probe(model, (3, 8, 8))
    model[1].running_var[0] = math.nan
    with pytest.raises(UsageError, match=r"1\.running_var"):
        Probe(model, (3, 8, 8))
    model[1].running_var[0] = 1
    model[0].weight.data[0] = math.inf
    with pytest.raises(UsageError, match=r"0\.weight"):
        Probe(model, (3, 8, 8))
