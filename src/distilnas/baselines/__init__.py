"""Scores of networks by others' methods, to compare ours with; neighbours of `methods`, neither imports the other."""
