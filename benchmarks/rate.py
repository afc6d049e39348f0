"""Rating a cell of 4 layers x 6 ops: shared prefixes against every path from the start."""

import itertools

import torch

from benchmarks.timing import interleave, keep
from distilnas.methods.dna.rate import walk
from distilnas.runtime.device import Device
from distilnas.space import CellSpec, MBConv
from distilnas.supernet import SuperCell


@torch.no_grad()
def main() -> None:
    """Time both on the same features; check that the outputs agree."""
    ops = tuple(MBConv(kernel=k, expansion=e, se=0.25, act="silu") for e in (3, 6) for k in (3, 5, 7))
    cell = SuperCell(CellSpec(width=16, layers=(ops,) * 4), 16, 2, 32, "project")
    device = Device("cpu")
    device.module(cell)
    torch.nn.init.normal_(cell.exit.weight)
    x = device.images(torch.randn(8, 16, 8, 8))
    paths = list(itertools.product(range(6), repeat=4))

    def shared() -> None:
        for _ in walk(cell, x, device):
            pass

    def naive() -> None:
        for path in paths:
            cell(x, path)

    difference = max(float((y - cell(x, path)).abs().max()) for path, y in walk(cell, x, device))
    seconds = interleave({"shared": shared, "naive": naive}, repeats=3)
    keep(
        "rate",
        {
            "what": "one batch of 8 features 16x8x8 through all 1,296 paths of a cell with 4 layers x 6 ops",
            "seconds_median": seconds,
            "ratio": seconds["naive"] / seconds["shared"],
            "op_evaluations": {"shared": 6 + 36 + 216 + 1296, "naive": 4 * 1296},
            "largest_output_difference": difference,
        },
    )


if __name__ == "__main__":
    main()
