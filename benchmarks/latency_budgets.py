"""Whether a latency as a budget is kept: budgets spread over a teacher's time, each winner measured anew.

``python -m benchmarks.latency_budgets [--teachers tf_efficientnet_lite0:48,mobilenetv2_100:64,resnet18:64]
[--budgets 20] [--table-seconds 10] [--out benchmarks/results/latency.json]``

Teachers are timm's with random weights, as latency does not
depend on them, their libraries made from random images. For each budget, from 20 to 90 % of the teacher's latency, the
loop of the recipe ``shrink`` finds the best by rating inside; then student and teacher are measured again in fresh
processes. Judged by the ratio to the teacher in the same turns. The record has, by budget: the first estimate and its
error, the measurement in the loop, rounds, and the fresh ratio over the budget (``used``).
"""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch

from distilnas.errors import InfeasibleError
from distilnas.latency import LatencySettings, Timing, measure
from distilnas.latency.design import design_of, whole_piece
from distilnas.latency.keep import LATENCY, keep
from distilnas.latency.table import TABLE_SECONDS, LatencyTable, measure_table
from distilnas.solve import Limit
from distilnas.surgery.build import build_library
from distilnas.surgery.chain import chain_of, ends_of
from distilnas.surgery.choose import Chosen, best_of_kinds, least_choice
from distilnas.surgery.library import Library
from distilnas.tables.measures import EXACT
from distilnas.teachers.units import propose_units

TEACHERS = "tf_efficientnet_lite0:48,mobilenetv2_100:64,resnet18:64"
SECONDS = 0.3  # of a network in each process


def library_of(name: str, size: int) -> Library:
    """From random images: enough for what latency needs."""
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=10).eval()
    units = chain_of(model, ends_of(propose_units(model, size)), (3, size, size))
    calibration = [torch.randn(16, 3, size, size) for _ in range(2)]
    return build_library(units, calibration, [torch.randn(4, 3, size, size) for _ in range(4)])


def ratios(library: Library, some: list[Chosen], settings: LatencySettings) -> list[Timing]:
    """To the teacher."""
    pieces = [whole_piece(library, choice, settings) for choice in (library.whole(), *(one.choice for one in some))]
    found = measure([[piece] for piece in pieces], settings, seconds=SECONDS * len(pieces))
    return [found.ratio(row, 0) for row in range(1, len(pieces))]


def budgets_kept(
    library: Library, table: LatencyTable, budgets: int, settings: LatencySettings
) -> list[dict[str, Any]]:
    """One record a budget."""
    trunks = library.trunks(EXACT, {LATENCY: table})
    rows = []
    for share in np.linspace(0.2, 0.9, budgets).tolist():
        limit = Limit(cost=LATENCY, max=share * table.teacher.median)
        start = time.perf_counter()
        try:
            kept = keep(
                [limit],
                table.teacher.median,
                lambda limits: best_of_kinds(trunks, limits)[:2],
                lambda limits: [least_choice(trunks, limits, LATENCY)],
                lambda some: ratios(library, list(some), settings),
            )
        except InfeasibleError as error:
            rows.append({"share": share, "infeasible": str(error)})
            continue
        best, first = kept.inside[0], kept.tried[0]
        seconds = time.perf_counter() - start
        (fresh,) = ratios(library, [best.chosen], settings)
        row = {
            "share": share,
            "first_estimate_ms": first.estimate_ms,
            "first_error": first.estimate_ms / (first.ratio.median * table.teacher.median) - 1,
            "ratio": [best.ratio.median, best.ratio.low, best.ratio.high],
            "fresh": [fresh.median, fresh.low, fresh.high],
            "used": fresh.median / share,
            "kept": fresh.median <= share,
            "macs": int(best.chosen.solution.costs["macs"]),
            "rounds": kept.rounds,
            "seconds": seconds,
        }
        rows.append(row)
        print(json.dumps(row), flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--teachers", default=TEACHERS)
    parser.add_argument("--budgets", type=int, default=20)
    parser.add_argument("--table-seconds", type=float, default=TABLE_SECONDS)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/latency.json"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    settings, found = LatencySettings(), []
    for teacher in args.teachers.split(","):
        name, size = teacher.split(":")
        library = library_of(name, int(size))
        start = time.perf_counter()
        table = measure_table(library, design_of(library), settings, seconds=args.table_seconds)
        record = {
            "teacher": teacher,
            "candidates": sum(len(part.options) for parts in library.parts for part in parts),
            "table_seconds": time.perf_counter() - start,
            "table_error": table.error,
            "teacher_ms": [table.teacher.median, table.teacher.low, table.teacher.high],
            "doubt": table.doubt,
        }
        print(json.dumps(record), flush=True)
        rows = budgets_kept(library, table, args.budgets, settings)
        done = [row for row in rows if "used" in row]
        record |= {"budgets": rows, "inside": sum(row["kept"] for row in done), "of": len(rows)}
        record |= {"used": float(np.mean([row["used"] for row in done])) if done else None}
        found.append(record)
        told = {"runtime": f"onnxruntime {table.version}", "processor": table.processor, "load": os.getloadavg()[0]}
        args.out.write_text(json.dumps(told | {"threads": 1, "batch": 1, "teachers": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
