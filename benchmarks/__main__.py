"""``make bench``: every benchmark in a process of its own; records go to ``results/``."""

import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

from distilnas.bench import BENCHMARKS

RESULTS = Path(__file__).parent / "results"


def main(arguments: list[str], results: Path = RESULTS, *, without: Collection[str] = ()) -> None:
    """Run all benchmarks but those ``without``, with ``arguments`` passed on to each."""
    for name in (name for name in BENCHMARKS if name not in without):
        command = [sys.executable, "-m", "distilnas", "bench", name, "--out", str(results / f"{name}.json"), *arguments]
        print(" ".join(command[2:]), flush=True)
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
