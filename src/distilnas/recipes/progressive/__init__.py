"""The recipe `progressive`: the scaled winner teaches the next search."""
