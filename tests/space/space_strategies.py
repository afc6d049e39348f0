"""Hypothesis strategies for ops, architectures and small search spaces."""

from hypothesis import strategies as st

from distilnas.space import (
    BlockSpec,
    Cell,
    CellSpec,
    FixedLayer,
    Head,
    Identity,
    Layered,
    MBConv,
    Stem,
    space_of_cells,
)
from distilnas.space.ops import ACTIVATIONS

acts = st.sampled_from(ACTIVATIONS)
widths = st.integers(1, 2000)
strides = st.integers(1, 4)
mbconvs = st.builds(
    MBConv,
    kernel=st.sampled_from((1, 3, 5, 7, 9)),
    expansion=st.integers(1, 12),
    act=acts,
    se=st.floats(0, 1, allow_subnormal=False),
)
ops = st.one_of(st.builds(Identity), mbconvs)
fixed_layers = st.builds(FixedLayer, op=ops, width=widths, stride=strides)
stems = st.builds(Stem, width=widths, act=acts, stride=strides, layers=st.lists(fixed_layers, max_size=2).map(tuple))
heads = st.builds(Head, width=widths, act=acts)
cells = st.builds(Cell, width=widths, stride=strides, ops=st.lists(ops, min_size=1, max_size=4).map(tuple))
architectures = st.builds(
    Layered, stem=stems, cells=st.lists(cells, min_size=1, max_size=4).map(tuple), head=heads
).map(Layered.architecture)

_layers = st.lists(ops, min_size=1, max_size=3, unique=True).map(tuple)
_cells = st.builds(
    CellSpec, width=st.sampled_from((8, 16, 24)), layers=st.lists(_layers, min_size=1, max_size=3).map(tuple)
)
# one cell for each (width, depth): then every architecture comes from one choice only
_block_specs = st.builds(
    BlockSpec,
    stride=strides,
    families=st.lists(_cells, min_size=1, max_size=3, unique_by=lambda cell: (cell.width, cell.depth)).map(tuple),
)
spaces = st.builds(
    space_of_cells,
    name=st.text(max_size=10),
    stem=stems,
    blocks=st.lists(_block_specs, min_size=1, max_size=2).map(tuple),
    head=heads,
)
