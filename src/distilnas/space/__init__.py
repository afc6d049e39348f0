"""Search spaces and architectures as plain data; no torch."""

from distilnas.space.architecture import Architecture, Layered
from distilnas.space.depths import separate_depths
from distilnas.space.families import Box, Cell, CellSpec, Family, Filling, FixedLayer, Head, Path, Stem
from distilnas.space.kinds import LAYER_KINDS, Identity, MBConv, layer_kind, parse_op
from distilnas.space.ops import Op
from distilnas.space.presets import FittedSpace, find_space, preset, preset_names, read_space
from distilnas.space.regroup import merged, op_key, regroup, split_blocks
from distilnas.space.scaling import Scaling, scale
from distilnas.space.spaces import BlockSpec, Candidate, Choice, SearchSpace, frame_of, space_of_cells

__all__ = [
    "LAYER_KINDS",
    "Architecture",
    "BlockSpec",
    "Box",
    "Candidate",
    "Cell",
    "CellSpec",
    "Choice",
    "Family",
    "Filling",
    "FittedSpace",
    "FixedLayer",
    "Head",
    "Identity",
    "Layered",
    "MBConv",
    "Op",
    "Path",
    "Scaling",
    "SearchSpace",
    "Stem",
    "find_space",
    "frame_of",
    "layer_kind",
    "merged",
    "op_key",
    "parse_op",
    "preset",
    "preset_names",
    "read_space",
    "regroup",
    "scale",
    "separate_depths",
    "space_of_cells",
    "split_blocks",
]
