"""Where a teacher is cut into units."""

from collections import OrderedDict

import pytest
import torch
from torch import nn

from distilnas.errors import UsageError
from distilnas.networks.parent import Border
from distilnas.surgery.chain import End, chain_of, run

SHAPE = (3, 8, 8)


class Choosy(nn.Sequential):
    """Layers behind code that asks what size it is given, as MobileViTV2's does."""

    def forward(self, x):
        if x.shape[-1] != x.shape[-2]:
            raise ValueError
        return super().forward(x)


class PassedBy(nn.Sequential):
    """Layers with a shortcut around them."""

    def forward(self, x):
        return x + super().forward(x)


class WithSize(nn.Conv2d):
    """A layer that also says how large its map is, as blocks of MViTv2 do."""

    def forward(self, input):
        return super().forward(input), 8


class After(nn.Flatten):
    """Reads what ``WithSize`` hands on."""

    def forward(self, input):
        return super().forward(input[0] * input[1])


def test_a_teacher_that_hands_on_more_than_a_tensor_is_refused():
    model = nn.Sequential(OrderedDict(stem=WithSize(3, 4, 1), flat=After()))
    end = End(border=Border(path="stem", channels=4, height=8, width=8), block=0, tap="stem", droppable=False)
    with pytest.raises(UsageError, match="stem of Sequential gives out a tuple"):
        chain_of(model, [end], SHAPE)


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (Choosy, ["stem", "middle", "head"]),
        (PassedBy, ["stem", "middle", "head"]),
        (nn.Sequential, ["stem", "middle.0", "middle.1", "head"]),
    ],
)
def test_a_block_that_can_not_be_cut_inside_is_one_unit(kind, names):
    middle = kind(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1))
    model = nn.Sequential(OrderedDict(stem=nn.Conv2d(3, 4, 1), middle=middle, flat=nn.Flatten()))
    places = (("stem", 0, "stem"), ("middle.0", 1, "middle"), ("middle.1", 1, "middle"))
    ends = [
        End(border=Border(path=path, channels=4, height=8, width=8), block=block, tap=tap, droppable=block > 0)
        for path, block, tap in places
    ]
    units, x = chain_of(model, ends, SHAPE), torch.randn(2, *SHAPE)
    assert [unit.name for unit in units] == names
    torch.testing.assert_close(run([unit.module for unit in units], x), model(x))


class Written(nn.Module):
    """A layer and its reader, with ``width`` written into the code between them, as XCiT's class attention has it."""

    def __init__(self, width):
        super().__init__()
        self.width, self.layer, self.reader = width, nn.Conv2d(4, 8, 1), nn.Conv2d(8, 4, 1)

    def forward(self, x):
        return self.reader(self.layer(x).relu().reshape(len(x), self.width, *SHAPE[1:]))


@pytest.mark.parametrize(("width", "groups"), [(8, 0), (-1, 1)])
def test_channels_whose_number_is_in_the_code_stay(width, groups):
    model = nn.Sequential(OrderedDict(stem=nn.Conv2d(3, 4, 1), middle=Written(width), flat=nn.Flatten()))
    ends = [
        End(border=Border(path=path, channels=4, height=8, width=8), block=block, tap=path, droppable=False)
        for block, path in enumerate(("stem", "middle"))
    ]
    assert len(chain_of(model, ends, SHAPE)[1].groups) == groups
