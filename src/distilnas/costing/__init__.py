"""Counting parameters and multiply-adds, and cost tables of search spaces."""

from distilnas.costing.counters import Profile, count, count_params, profile
from distilnas.costing.latency import measure_latency
from distilnas.costing.tables import cost_table

__all__ = ["Profile", "cost_table", "count", "count_params", "measure_latency", "profile"]
