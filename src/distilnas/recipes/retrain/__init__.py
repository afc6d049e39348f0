"""The recipe `retrain`: one network trained."""
