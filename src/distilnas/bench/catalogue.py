"""The benchmarks by name."""

from collections.abc import Callable

from distilnas.bench import distill, library, processes, rate, retrain, scale, shrink, solve
from distilnas.bench.report import Report
from distilnas.bench.settings import BenchSettings
from distilnas.errors import UsageError, nearest

BENCHMARKS: dict[str, Callable[[str, BenchSettings], Report]] = {
    "distill": lambda name, settings: distill.run(distill.QUICK if settings.quick else distill.B7, name, settings),
    "distill-cifar": lambda name, settings: distill.run(distill.CIFAR, name, settings),
    "rate": rate.run,
    "solve": solve.run,
    "retrain": retrain.run,
    "shrink": shrink.run,
    "library": library.run,
    "scale": scale.run,
    "processes": processes.run,
}


def benchmark(name: str, settings: BenchSettings) -> Report:
    """Run a benchmark; raises ``UsageError`` with the nearest names."""
    if name not in BENCHMARKS:
        raise UsageError(f"unknown benchmark {name!r}; {nearest(name, BENCHMARKS)}")
    settings.set_threads()
    return BENCHMARKS[name](name, settings)
