"""Costs of a unit's options: exact, from few counts."""

import itertools
from unittest import mock

import numpy as np
from torch import nn

from distilnas.surgery.chain import Unit
from distilnas.surgery.costs import _Counter, costs_of
from distilnas.surgery.grafts import Cuttable
from distilnas.surgery.groups import Branch, InnerGroup, Slice

DIM, HIDDEN, PLACES = 3, 8, 5


class Mlps(nn.Module):
    """Five of them, each beside a shortcut."""

    def __init__(self):
        super().__init__()
        hidden = (nn.Sequential(nn.Linear(DIM, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, DIM)) for _ in range(5))
        self.mlps = nn.ModuleList(hidden)

    def forward(self, x):
        for mlp in self.mlps:
            x = x + mlp(x)
        return x


def cuttable(path, options):
    """The hidden units of the MLP at ``path``, which may go as a whole."""
    index = np.arange(HIDDEN)[:, None]
    group = InnerGroup(
        name=f"{path}.0",
        elements=HIDDEN,
        width=1,
        made=(Slice(path=f"{path}.0", axis="out", index=index),),
        read=(Slice(path=f"{path}.2", axis="in", index=index),),
        branch=Branch(path=path, shape=(DIM,)),
    )
    return Cuttable(group=group, options=options, grafts=())


def test_groups_of_different_modules_are_counted_one_by_one():
    shape = (PLACES, DIM)
    unit = Unit(
        name="unit", block=0, module=Mlps(), groups=(), droppable=False, in_shape=shape, out_shape=shape, border=None
    )
    parts = [cuttable(f"mlps.{i}", (HIDDEN, 4, 0)) for i in range(5)]
    options = list(itertools.product((HIDDEN, 4, 0), repeat=5))
    with mock.patch.object(_Counter, "count", autospec=True, side_effect=_Counter.count) as count:
        costs = costs_of(unit, parts, options, ("macs", "params"))
    hidden = np.array(options)
    assert costs["macs"].tolist() == (2 * PLACES * DIM * hidden).sum(1).tolist()
    assert costs["params"].tolist() == ((2 * DIM + 1) * hidden + DIM).sum(1).tolist()
    assert count.call_count <= 1 + 3 * len(parts)
