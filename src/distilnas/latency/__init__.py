"""How long networks take on a device: measured, added up from a library's pieces, and kept as a hard budget."""

from distilnas.latency.measure import PROCESSES, Measurement, measure
from distilnas.latency.pieces import Piece, make_piece
from distilnas.latency.settings import LatencySettings
from distilnas.latency.timing import Timing, timing

__all__ = ["PROCESSES", "LatencySettings", "Measurement", "Piece", "Timing", "make_piece", "measure", "timing"]
