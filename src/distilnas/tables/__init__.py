"""Ratings and costs as plain arrays; no torch."""

from distilnas.tables.costs import CellCosts, CostTable
from distilnas.tables.ratings import CellRatings, RatingTable, indifferent, unrated

__all__ = ["CellCosts", "CellRatings", "CostTable", "RatingTable", "indifferent", "unrated"]
