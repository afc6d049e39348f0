"""The recipe `rank`: ratings against true accuracies."""
