"""Whole runs: short functions from step to step, and the configurations that are shipped."""
