"""How long networks take on a device: measured, added up from a library's pieces, and kept as a hard budget."""

from distilnas.latency.intervals import Timing, timing
from distilnas.latency.measuring import PROCESSES, Measurement, measure
from distilnas.latency.pieces import Piece, make_piece, piece_of_file
from distilnas.latency.settings import LatencySettings

__all__ = [
    "PROCESSES",
    "LatencySettings",
    "Measurement",
    "Piece",
    "Timing",
    "make_piece",
    "measure",
    "piece_of_file",
    "timing",
]
