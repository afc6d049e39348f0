"""DNAD: search by deleting (SNPS) and by imitating a teacher, in the DARTS space; and DARTS itself as the baseline."""

from distilnas.methods.dnad.alphas import num_genotypes
from distilnas.methods.dnad.archive import Archive, Snapshot
from distilnas.methods.dnad.bilevel import BilevelSettings, Relaxed, search_bilevel
from distilnas.methods.dnad.imitation import KINDS, ImitationSettings
from distilnas.methods.dnad.pressure import IMAGENET_PRESSURE, PressureSettings
from distilnas.methods.dnad.settings import SHRINK_PROFILES, ShrinkSettings
from distilnas.methods.dnad.shrink import Shrunk, shrink
from distilnas.methods.dnad.sparsity import PENALTIES
from distilnas.methods.dnad.supernet import SearchNet, build_supernet

__all__ = [
    "IMAGENET_PRESSURE",
    "KINDS",
    "PENALTIES",
    "SHRINK_PROFILES",
    "Archive",
    "BilevelSettings",
    "ImitationSettings",
    "PressureSettings",
    "Relaxed",
    "SearchNet",
    "ShrinkSettings",
    "Shrunk",
    "Snapshot",
    "build_supernet",
    "num_genotypes",
    "search_bilevel",
    "shrink",
]
