"""Neural architecture search by knowledge distillation.

The parts are imported from where they live, e.g. ``from distilnas.space import SearchSpace``. Importing ``distilnas``
itself changes nothing in the process and loads neither torch nor timm. For timm's ``timm.create_model('dna_a')`` import
``distilnas.networks``, which registers our networks there.
"""

from distilnas.version import __version__

__all__ = ["__version__"]
