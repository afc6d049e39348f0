"""Training the found network from scratch, without the teacher."""

from distilnas.retrain.retrain import retrain

__all__ = ["retrain"]
