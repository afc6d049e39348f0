"""Neural architecture search by knowledge distillation.

The parts are imported from where they live, e.g. ``from distilnas.space import SearchSpace``; importing ``distilnas``
itself is cheap and does nothing.
"""

from distilnas.version import __version__

__all__ = ["__version__"]
