"""The weight-sharing supernet that block-wise distillation trains."""

from distilnas.supernet.student import Assembled, assemble
from distilnas.supernet.supernet import Adapters, SuperBlock, SuperCell, Supernet, build_supernet

__all__ = ["Adapters", "Assembled", "SuperBlock", "SuperCell", "Supernet", "assemble", "build_supernet"]
