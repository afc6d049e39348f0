"""Counting parameters and multiply-adds, and cost tables of search spaces."""

from distilnas.costing.counters import Profile, count, count_params, profile
from distilnas.costing.latency import Latency, measure_latency
from distilnas.costing.scaling import Scaled, scale_to
from distilnas.costing.tables import cost_table

__all__ = [
    "Latency",
    "Profile",
    "Scaled",
    "cost_table",
    "count",
    "count_params",
    "measure_latency",
    "profile",
    "scale_to",
]
