"""The weight-sharing supernet that block-wise distillation trains."""

from distilnas.supernet.supernet import Adapters, SuperBlock, SuperCell, Supernet, build_supernet

__all__ = ["Adapters", "SuperBlock", "SuperCell", "Supernet", "build_supernet"]
