"""Exact search over block candidates: plain data and maths, no torch."""

from distilnas.solve.diverse import diverse
from distilnas.solve.exact import solve
from distilnas.solve.from_tables import batch_ratings, search_problem, to_choice
from distilnas.solve.front import pareto_front
from distilnas.solve.infeasible import Infeasibility, Reach, explain_infeasible
from distilnas.solve.milp import solve_milp
from distilnas.solve.problem import BlockCandidates, CellCandidates, Limit, Position, SearchProblem, Solution
from distilnas.solve.ties import Tie, tie_test

__all__ = [
    "BlockCandidates",
    "CellCandidates",
    "Infeasibility",
    "Limit",
    "Position",
    "Reach",
    "SearchProblem",
    "Solution",
    "Tie",
    "batch_ratings",
    "diverse",
    "explain_infeasible",
    "pareto_front",
    "search_problem",
    "solve",
    "solve_milp",
    "tie_test",
    "to_choice",
]
