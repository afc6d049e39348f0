"""``make bench``: every benchmark in a process of its own; records go to ``results/``."""

import subprocess
import sys
from pathlib import Path

from distilnas.bench import BENCHMARKS

RESULTS = Path(__file__).parent / "results"


def main(arguments: list[str], results: Path = RESULTS) -> None:
    """Run all benchmarks, with ``arguments`` passed on to each."""
    for name in BENCHMARKS:
        command = [sys.executable, "-m", "distilnas", "bench", name, "--out", str(results / f"{name}.json"), *arguments]
        print(" ".join(command[2:]), flush=True)
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
