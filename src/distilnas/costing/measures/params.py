"""Number of parameters, buffers excluded."""

from distilnas.costing.counters import count_params
from distilnas.costing.measures import Part


def measure(part: Part) -> int:
    """Those shared by several layers count once."""
    return count_params(part.module)
