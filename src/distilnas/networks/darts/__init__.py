"""Networks of the DARTS space; importing registers the published ones and ``distilnas_darts`` in timm."""

from distilnas.networks.darts.auxiliary import AuxiliaryHead
from distilnas.networks.darts.cell import Cell
from distilnas.networks.darts.network import DartsNet
from distilnas.networks.darts.ops import FactorizedReduce, make_op, relu_conv_bn
from distilnas.networks.darts.published import (
    VARIANTS,
    PublishedGenotype,
    PublishedResult,
    Variant,
    genotype_names,
    published_architecture,
    published_genotype,
)
from distilnas.networks.darts.registry import build_network

__all__ = [
    "VARIANTS",
    "AuxiliaryHead",
    "Cell",
    "DartsNet",
    "FactorizedReduce",
    "PublishedGenotype",
    "PublishedResult",
    "Variant",
    "build_network",
    "genotype_names",
    "make_op",
    "published_architecture",
    "published_genotype",
    "relu_conv_bn",
]
