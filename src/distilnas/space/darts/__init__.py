"""The DARTS space as plain data: genotypes in both forms, network descriptions, and the plan of their cells."""

from distilnas.space.darts.architecture import (
    AnyArchitecture,
    DartsArchitecture,
    architecture_from_dict,
    parse_architecture,
)
from distilnas.space.darts.genotype import (
    AnyGenotype,
    CellwiseGenotype,
    DartsCell,
    Edge,
    Genotype,
    genotype_from_dict,
    reduction_cells,
)
from distilnas.space.darts.ops import OPS, PRIMITIVES
from distilnas.space.darts.plan import CellPlan, auxiliary_cell, plan_cells
from distilnas.space.darts.text import parse_genotype, python_text, short_text

__all__ = [
    "OPS",
    "PRIMITIVES",
    "AnyArchitecture",
    "AnyGenotype",
    "CellPlan",
    "CellwiseGenotype",
    "DartsArchitecture",
    "DartsCell",
    "Edge",
    "Genotype",
    "architecture_from_dict",
    "auxiliary_cell",
    "genotype_from_dict",
    "parse_architecture",
    "parse_genotype",
    "plan_cells",
    "python_text",
    "reduction_cells",
    "short_text",
]
