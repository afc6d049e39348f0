"""The words of the command line for single steps; a recipe's table says which of them it has."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Verb:
    """``distilnas NAME`` does the step, and those before it where they are missing."""

    name: str
    help: str


DISTILL = Verb(name="distill", help="Train the supernet block by block under the teacher.")
SEARCH = Verb(name="search", help="Search the space of DARTS (recipe dnad).")
RATE = Verb(name="rate", help="Rate every candidate of every block on held-out training images.")
COST = Verb(name="cost", help="Count MACs, parameters and bytes of every candidate.")
SOLVE = Verb(
    name="solve",
    help="Find the best architecture under the budgets; with limits given here, these replace all of the run's.",
)
RETRAIN = Verb(name="retrain", help="Train the solution's network from scratch, without the teacher.")
EVALUATE = Verb(name="evaluate", help="Test the student on images never used before.")
EXPORT = Verb(name="export", help="Write the student as safetensors, JSON and ONNX (checked against PyTorch).")

VERBS = (DISTILL, SEARCH, RATE, COST, SOLVE, RETRAIN, EVALUATE, EXPORT)
