"""How well scores order networks whose true accuracy is known; reads files, never trainers; no torch."""

from distilnas.ranking.budgets import CostBudget, Pick, parse_budget, pick
from distilnas.ranking.columns import Columns, read_columns
from distilnas.ranking.comparison import ACCURACY, Comparison, compare, cost_numbers
from distilnas.ranking.correlation import Correlations, among_best, correlate, intervals, kendall, top_overlap
from distilnas.ranking.fitting import FittedSum, draw_trained, fit_sum, left_out
from distilnas.ranking.networks import NetworkNames, block_ratings, cost_scores, depth_scores, rating_sums
from distilnas.ranking.record import picks_of, rank_record
from distilnas.ranking.significance import TauDifference, mean_stderr, paired_bootstrap, pooled_bootstrap

__all__ = [
    "ACCURACY",
    "Columns",
    "Comparison",
    "Correlations",
    "CostBudget",
    "FittedSum",
    "NetworkNames",
    "Pick",
    "TauDifference",
    "among_best",
    "block_ratings",
    "compare",
    "correlate",
    "cost_numbers",
    "cost_scores",
    "depth_scores",
    "draw_trained",
    "fit_sum",
    "intervals",
    "kendall",
    "left_out",
    "mean_stderr",
    "paired_bootstrap",
    "parse_budget",
    "pick",
    "picks_of",
    "pooled_bootstrap",
    "rank_record",
    "rating_sums",
    "read_columns",
    "top_overlap",
]
