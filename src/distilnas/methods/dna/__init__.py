"""DNA: block-wise supervision (Li et al., CVPR 2020)."""

from distilnas.methods.dna.additivity import hold, measure_additivity
from distilnas.methods.dna.distill import distill
from distilnas.methods.dna.metrics import METRICS, Metric
from distilnas.methods.dna.rate import RateSettings, rate
from distilnas.methods.dna.sampling import SAMPLERS
from distilnas.methods.dna.settings import DistillSettings

__all__ = [
    "METRICS",
    "SAMPLERS",
    "DistillSettings",
    "Metric",
    "RateSettings",
    "distill",
    "hold",
    "measure_additivity",
    "rate",
]
