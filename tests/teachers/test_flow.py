"""Cut values of recorded computations: views, work in place, shapes and numbers that leave the tensors."""

import pytest
import torch
from torch import Tensor

from distilnas.teachers.flow import IMAGE, Flow


def image() -> Tensor:
    return torch.arange(1.0, 17.0).reshape(2, 8)


def is_cut(value: int | None, output: Tensor, flow: Flow) -> bool:
    return value in flow.cuts(output)


def test_a_chain_is_all_cuts_and_a_shortcut_passes_what_it_jumps_over() -> None:
    x = image()
    with Flow(x) as flow:
        a = x * 2
        b = a + 1
        c = b * b
        d = c + a
    assert flow.cuts(d) == {flow.value(value) for value in (x, a, d)}
    assert flow.cuts(c) == {flow.value(value) for value in (x, a, b, c)}
    assert flow.value(x) == IMAGE


def test_views_are_the_value_they_look_at() -> None:
    x = image()
    with Flow(x) as flow:
        a = x * 2
        first, second = a.view(2, 2, 4).transpose(1, 2).unbind(-1)
        output = first + second
    assert flow.value(first) == flow.value(second) == flow.value(a)
    assert is_cut(flow.value(a), output, flow)


def test_writing_in_place_makes_a_new_value_for_all_views() -> None:
    x = image()
    with Flow(x) as flow:
        a = x * 2
        before = flow.value(a)
        a[:, :4].mul_(3)
        b = a * 1
    assert before != flow.value(a)
    assert flow.cuts(b) == {IMAGE, before, flow.value(a), flow.value(b)}
    with Flow(x) as flow:
        held = torch.zeros(2, 8)
        a = x * 2
        held[:, 0] = a[:, 0]
        output = held + x
    assert flow.cuts(output) == {IMAGE, flow.value(output)}


def test_only_the_shape_of_the_image_is_no_dependence() -> None:
    x = image()
    with Flow(x) as flow:
        a = x * 2
        output = a + torch.zeros_like(x) + x.new_ones(8) + torch.ones(x.shape)
        constant = torch.ones_like(x) * 3
    assert is_cut(flow.value(a), output, flow)
    assert flow.value(constant) is None
    assert flow.cuts(constant) == set()


def test_all_that_follows_depends_on_a_number_that_left_the_tensors() -> None:
    x = image()
    with Flow(x) as flow:
        a = x * 2
        chosen = x.sum().item() > 0
        output = a * 2 if chosen else a
    assert not is_cut(flow.value(a), output, flow)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_values_are_needed_for_none_of_this(device: str) -> None:
    x = image().to(device)
    with Flow(x) as flow:
        a = torch.nn.functional.gelu(x)
        b = torch.cat([a, a[:, :1].expand(-1, 3)], 1)
        output = torch.softmax(b, -1)
    assert flow.cuts(output) >= {flow.value(value) for value in (x, a, b, output)}
