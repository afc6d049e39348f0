"""Training the found network from scratch, without the teacher."""

from distilnas.retrain.retrain import AUXILIARY, retrain

__all__ = ["AUXILIARY", "retrain"]
