"""Speed of the main jobs against a plain reference in the same process, with the floors of the device beside it.

Every benchmark takes ``BenchSettings`` and gives a ``Report``. The references are written plainly from the papers and
share no fast path with the package; ``tests/bench`` checks that both give the same numbers.
"""

from distilnas.bench.catalogue import BENCHMARKS, benchmark
from distilnas.bench.report import Report
from distilnas.bench.settings import BenchSettings

__all__ = ["BENCHMARKS", "BenchSettings", "Report", "benchmark"]
