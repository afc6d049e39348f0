"""DNA: block-wise supervision (Li et al., CVPR 2020)."""

from distilnas.methods.dna.additivity import Additivity, measure_additivity
from distilnas.methods.dna.distill import DistillSettings, distill
from distilnas.methods.dna.rate import RateSettings, rate
from distilnas.methods.dna.sampling import SAMPLERS

__all__ = ["SAMPLERS", "Additivity", "DistillSettings", "RateSettings", "distill", "measure_additivity", "rate"]
