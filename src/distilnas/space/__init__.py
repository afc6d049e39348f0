"""Search spaces and architectures as plain data; no torch."""

from distilnas.space.architecture import Architecture, Block, FixedLayer, Head, Stem
from distilnas.space.depths import separate_depths
from distilnas.space.ops import Identity, MBConv, Op, parse_op
from distilnas.space.presets import FittedSpace, find_space, preset, preset_names, read_space
from distilnas.space.regroup import merged, op_key, regroup, split_blocks
from distilnas.space.scaling import Scaling, scale
from distilnas.space.spaces import BlockSpec, Candidate, CellSpec, Choice, SearchSpace

__all__ = [
    "Architecture",
    "Block",
    "BlockSpec",
    "Candidate",
    "CellSpec",
    "Choice",
    "FittedSpace",
    "FixedLayer",
    "Head",
    "Identity",
    "MBConv",
    "Op",
    "Scaling",
    "SearchSpace",
    "Stem",
    "find_space",
    "merged",
    "op_key",
    "parse_op",
    "preset",
    "preset_names",
    "read_space",
    "regroup",
    "scale",
    "separate_depths",
    "split_blocks",
]
