"""Everything for one CUDA machine, in under ten minutes: GPU tests, then all benchmarks, records in ``results/cuda/``.

    python benchmarks/gpu.py [OUT_FOLDER]

The benchmarks are those of the CPU, with the sizes that they have for a GPU, but for those that never use one.
"""

import subprocess
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.__main__ import RESULTS, main

if __name__ == "__main__":
    if not torch.cuda.is_available():
        sys.exit("no CUDA device: the CPU's benchmarks are `make bench`")
    subprocess.run([sys.executable, "-m", "pytest", "tests/bench/test_bench_gpu.py"], check=True)
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS / "cuda"
    main(["--accelerator", "cuda", "--repeats", "3"], out, without=("solve", "processes"))
