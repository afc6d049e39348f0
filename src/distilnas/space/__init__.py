"""Search spaces and architectures as plain data; no torch."""

from distilnas.space.architecture import Architecture, Block, FixedLayer, Head, Stem
from distilnas.space.ops import Identity, MBConv, Op, parse_op
from distilnas.space.presets import FittedSpace, preset, preset_names, read_space
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
    "SearchSpace",
    "Stem",
    "parse_op",
    "preset",
    "preset_names",
    "read_space",
]
