"""Records of trainings for other programs: every sink is an extra, and writes into ``log/`` of the run."""

from distilnas.runtime.sinks.watching import Sink, Watched, watched

__all__ = ["Sink", "Watched", "watched"]
