"""SPOS, the baseline without a teacher: single path one-shot with uniform sampling (Guo et al., ECCV 2020).

One supernet holds all networks of a space, is trained end to end on labels along one random path a step, and then ranks
networks by the loss they have with its weights. The paper goes on to search with an evolutionary algorithm; here all
networks of a space, or those of a list, are scored.
"""

from distilnas.baselines.spos.sampling import SAMPLERS
from distilnas.baselines.spos.score import Scores, score
from distilnas.baselines.spos.supernet import OneShot, build_one_shot
from distilnas.baselines.spos.train import OneShotTraining, SposSettings, train_one_shot

__all__ = [
    "SAMPLERS",
    "OneShot",
    "OneShotTraining",
    "Scores",
    "SposSettings",
    "build_one_shot",
    "score",
    "train_one_shot",
]
