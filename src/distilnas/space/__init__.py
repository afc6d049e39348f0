"""Search spaces and architectures as plain data; no torch."""

from distilnas.space.architecture import Architecture, Block, FixedLayer, Head, Stem
from distilnas.space.depths import separate_depths
from distilnas.space.kinds import LAYER_KINDS, Identity, MBConv, layer_kind, parse_op
from distilnas.space.ops import Op
from distilnas.space.presets import FittedSpace, find_space, preset, preset_names, read_space
from distilnas.space.regroup import merged, op_key, regroup, split_blocks
from distilnas.space.scaling import Scaling, scale
from distilnas.space.spaces import BlockSpec, Candidate, CellSpec, Choice, SearchSpace

__all__ = [
    "LAYER_KINDS",
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
    "split_blocks",
]
