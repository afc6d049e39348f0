"""Parts of a network: what passes by a cut. That parts are the network bit for bit is tested with its users."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from distilnas.errors import UsageError
from distilnas.networks.cut import as_module, between, trace

SHAPE = (3, 6, 4)


class Tokens(nn.Module):
    """Tokens between a grid's convolution and its second; sizes, a table and the number of images pass by them."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 1)
        self.tokens = nn.Linear(4, 4)
        self.second = nn.Conv2d(4, 4, 1)
        self.register_buffer("table", torch.arange(5.0))
        self.start = nn.Parameter(torch.ones(1, 1, 4))

    def forward(self, x: Tensor, scale: float = 2.0) -> Tensor:
        grid = self.first(x) * scale
        images, channels, height, width = grid.shape
        places = self.table[1:] / width
        tokens = self.tokens(grid.flatten(2).transpose(1, 2))
        tokens = tokens + self.start.expand(images, -1, -1) * places
        return self.second(tokens.transpose(1, 2).reshape(images, channels, height, width))


@torch.no_grad()
def test_sizes_that_pass_by_a_cut_are_constants_and_the_number_of_images_is_ones_own() -> None:
    model = Tokens().eval()
    graph = trace(model, ["first", "tokens", "second"], SHAPE)
    ends = [None, "first", "tokens", "second", None]
    parts = [as_module(model, between(graph, *pair)) for pair in pairwise(ends)]
    for batch in (1, 2, 3, 7):
        x = images = torch.randn(batch, *SHAPE)
        for part in parts:
            x = part(x)
        assert torch.equal(x, model(images))


def test_without_a_size_of_images_nothing_may_pass_by() -> None:
    model = Tokens()
    graph = trace(model, ["first", "tokens"])
    with pytest.raises(UsageError, match="what first gave out is used between tokens and the output as well"):
        between(graph, "tokens", None)


def test_the_same_network_gives_the_same_names_however_often_it_is_traced() -> None:
    model = Tokens()
    names = []
    for paths in (["tokens"], ["first", "tokens"], ["tokens"]):
        part = as_module(model, between(trace(model, paths, SHAPE), "tokens", None))
        names.append(list(part.state_dict()))
    assert names[0] == names[1] == names[2]
    assert list(Tokens().state_dict()) == list(model.state_dict())


class Writing(nn.Module):
    """Activations in place behind cuts."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 4, 1)
        self.act = nn.Sequential(nn.ReLU(inplace=True))
        self.b = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.relu(self.b(self.act(self.a(x))), inplace=True).add_(1)


@torch.no_grad()
def test_a_part_leaves_its_input_as_it_is() -> None:
    model = Writing()
    graph = trace(model, ["a", "b"])
    for start in ("a", "b"):
        given = torch.randn(2, 4, 3, 3)
        before = given.clone()
        as_module(model, between(graph, start, None))(given)
        assert torch.equal(given, before)


def test_a_module_that_is_not_called_once_is_no_cut() -> None:
    class Twice(Writing):
        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.b(self.a(x)))

    graph = trace(Twice(), ["a", "b"])
    with pytest.raises(UsageError, match="'b' is called 2 times"):
        between(graph, "b", None)
    with pytest.raises(UsageError, match="'act' is called 0 times"):
        between(graph, "a", "act")
