"""Measures of networks, and cost tables of search spaces."""

from distilnas.costing.counters import Counts, count, count_params
from distilnas.costing.measures import ADDITIVE, EXACT, MEASURES, Measure, Part
from distilnas.costing.profiles import Profile, profile
from distilnas.costing.scaling import Scaled, scale_to
from distilnas.costing.tables import cost_table

__all__ = [
    "ADDITIVE",
    "EXACT",
    "MEASURES",
    "Counts",
    "Measure",
    "Part",
    "Profile",
    "Scaled",
    "cost_table",
    "count",
    "count_params",
    "profile",
    "scale_to",
]
