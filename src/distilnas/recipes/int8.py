"""The exported network in 8 bits beside it in 32: accuracy and latency of both, and which to ship."""

import itertools
from pathlib import Path
from typing import Any

from distilnas.data import Preprocessing
from distilnas.export import export_int8, onnx_top1
from distilnas.latency import LatencySettings, measure, piece_of_file
from distilnas.recipes.frame import Job

ONNX, INT8 = "model.onnx", "model.int8.onnx"
_CALIBRATION, _BATCH = 8, 32  # batches of training images, and their size
_WORSE = 1.0  # points of top-1 that 8 bits may cost to be shipped
_SECONDS = 0.6


def quantised(job: Job[Any, Any], folder: Path, train: Any, held_out: Any, wants: Preprocessing) -> dict[str, Any]:
    """Write the 8-bit file beside the other in ``folder``, and hold it against that.

    Accuracies are on ``held_out`` images, latencies by turns with one thread. ``ship`` is int8 where that is faster
    with 95 % and loses at most a point of top-1; many processors without 8-bit products are slower with it.
    """
    batches = job.materials.eval_batches(train, _BATCH, preprocessing=wants)
    export_int8(folder / ONNX, folder / INT8, [images for images, _ in itertools.islice(batches, _CALIBRATION)])
    top1 = {
        name: onnx_top1(folder / name, job.materials.eval_batches(held_out, preprocessing=wants))
        for name in (ONNX, INT8)
    }
    settings, shape = LatencySettings(), (3, wants.resolution, wants.resolution)
    rows = [[piece_of_file(folder / name, shape)] for name in (ONNX, INT8)]
    found = measure(rows, settings, seconds=_SECONDS, progress=job.progress)
    ratio, lost = found.ratio(1, 0), top1[ONNX] - top1[INT8]
    ship = "int8" if ratio.high < 1 and lost <= _WORSE else "float32"
    job.progress.message(
        f"  int8: {ratio.median:.0%} of the float32 latency ({ratio.low:.0%} to {ratio.high:.0%}), held-out top-1 "
        f"{top1[INT8]:.2f} against {top1[ONNX]:.2f} %: ship {ship}"
    )
    return {
        "file": INT8,
        "top1": top1[INT8],
        "float32_top1": top1[ONNX],
        "latency_ms": found.ms(1).median,
        "float32_latency_ms": found.ms(0).median,
        "ratio": [ratio.median, ratio.low, ratio.high],
        "ship": ship,
    }
