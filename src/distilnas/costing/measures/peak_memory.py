"""Most bytes of activations at once while the network answers for one image."""

from distilnas.costing.measures import Part
from distilnas.costing.memory import peak_bytes


def measure(part: Part) -> int:
    """From its operations in their order."""
    return peak_bytes(part.module, part.shape)
