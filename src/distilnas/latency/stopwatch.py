"""Times networks on the machine it runs on: ``python stopwatch.py FOLDER`` reads ``list.json`` and the files it names,
and writes ``times-1.json`` beside them, called again ``times-2.json`` and so on: several processes tell more than one.
It needs Python 3.9, numpy and onnxruntime, and nothing else of this package (PyTorch, where the list asks for it).

The list has ``rows``: one or several pieces that run one after the other, as the parts of a network do. All rows take
turns, in a new random order each time, so that a slow minute of the machine hits them alike. In its turn a row runs
twice and the second pass counts: its pieces then find caches as the network itself leaves them.

With one thread on a CPU a time is that for which the thread had the processor: on a quiet machine the time that passes,
on a busy one that without what other programs took. With more threads, and on other devices, it is what passes.
"""

import json
import os
import platform
import random
import sys
import time
from pathlib import Path

SCHEMA = 1
LIST, TIMES = "list.json", "times-{}.json"
_CALIBRATION_RUNS = 40
_CALIBRATION_SIDE = 192
_WARM_SECONDS = 0.5
_FEWEST_TURNS = 5
_PATIENCE = 10  # times as long as asked for, where others keep the processor


def main(folder):
    """Measure what the list in ``folder`` asks for."""
    with open(Path(folder) / LIST, encoding="utf-8") as file:
        asked = json.load(file)
    if asked.get("schema") != SCHEMA:
        raise SystemExit(f"{LIST} is of schema {asked.get('schema')}, this file reads {SCHEMA}: export both again.")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # before numpy is imported
        os.environ[name] = str(asked["threads"])
    runtime = {"onnxruntime": OnnxRuntime, "torch": Torch}[asked["runtime"]](asked["threads"], asked["device"])
    clock = clock_for(asked["threads"], asked["device"])
    rows = [[load(runtime, folder, piece, asked["batch"]) for piece in row] for row in asked["rows"]]
    before = calibrate(clock)
    times, passed, counted = take_turns(rows, clock, asked["seconds"], asked["turns"])
    found = {
        "schema": SCHEMA,
        "key": asked.get("key"),
        "asked": {name: asked[name] for name in ("runtime", "device", "threads", "batch")},
        "version": runtime.version,
        "processor": processor() if asked["device"] == "cpu" else runtime.processor(),
        "system": platform.platform(),
        "calibration_ms": [before, calibrate(clock)],
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "clock": "processor" if clock is time.thread_time else "wall",
        "waited": max(0.0, passed / counted - 1),
        "rows": times,
    }
    path = Path(folder) / TIMES.format(1 + len(written(folder)))
    temporary = path.with_suffix(".part")
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(found, file)
    os.replace(temporary, path)


def written(folder):
    """The files of times in a folder, in the order of their numbers."""
    paths = Path(folder).glob(TIMES.format("*"))
    return sorted(paths, key=lambda path: int(path.stem.rpartition("-")[2]))


def clock_for(threads, device):
    """A function that gives seconds."""
    alone = threads == 1 and device == "cpu" and hasattr(time, "thread_time")
    fine = alone and time.get_clock_info("thread_time").resolution <= 1e-6
    return time.thread_time if fine else time.perf_counter


def take_turns(rows, clock, seconds, turns):
    """Milliseconds by row, piece and turn, and seconds in sum: that passed, and that were counted.

    At most ``turns``; fewer where ``seconds`` are over by the ``clock``, or a few times that of any.
    """
    times = [[[] for _ in row] for row in rows]
    shuffled, order = random.Random(0), list(range(len(rows)))
    warm = clock() + min(_WARM_SECONDS, seconds / 4)
    while seconds and clock() < warm:
        for row in rows:
            run(row)
    passed, counted = 0.0, 0.0
    end, latest = clock() + seconds, time.perf_counter() + _PATIENCE * seconds
    for turn in range(turns):
        if turn >= _FEWEST_TURNS and (clock() > end or time.perf_counter() > latest):
            break
        shuffled.shuffle(order)
        for i in order:
            run(rows[i])
            start = time.perf_counter()
            for j, piece in enumerate(rows[i]):
                ms = timed(piece, clock)
                times[i][j].append(ms)
                counted += ms / 1000
            passed += time.perf_counter() - start
    return times, passed, counted


def run(row):
    """All pieces once."""
    for piece in row:
        piece()


def timed(piece, clock):
    """Milliseconds."""
    start = clock()
    piece()
    return 1000 * (clock() - start)


def calibrate(clock):
    """Median milliseconds of a fixed product of matrices: of another value later, the machine has changed its pace."""
    import numpy

    a = numpy.random.default_rng(0).random((_CALIBRATION_SIDE, _CALIBRATION_SIDE), dtype=numpy.float32)
    runs = sorted(timed(lambda: a @ a, clock) for _ in range(_CALIBRATION_RUNS))
    return runs[len(runs) // 2]


class OnnxRuntime:
    """Files are ONNX models with one input; threads that wait do not spin."""

    def __init__(self, threads, device):
        import onnxruntime

        self._ort, self._threads = onnxruntime, threads
        self._provider = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}[device]
        if self._provider not in onnxruntime.get_available_providers():
            raise SystemExit(f"onnxruntime here has no {self._provider}: {onnxruntime.get_available_providers()}.")
        self.version = onnxruntime.__version__

    def load(self, path, shape):
        """A call that runs the model once on fixed random values."""
        import numpy

        options = self._ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        session = self._ort.InferenceSession(str(path), options, providers=[self._provider])
        binding = session.io_binding()
        values = numpy.random.default_rng(0).random(shape, dtype=numpy.float32)
        binding.bind_cpu_input(session.get_inputs()[0].name, values)
        for output in session.get_outputs():
            binding.bind_output(output.name)
        return lambda: (values, session.run_with_iobinding(binding))

    def processor(self):
        """Of the accelerator."""
        return self._provider


class Torch:
    """Files are TorchScript programs with one input."""

    def __init__(self, threads, device):
        import torch

        torch.set_num_threads(threads)
        if device == "cuda" and not torch.cuda.is_available():
            raise SystemExit("torch finds no CUDA device here.")
        self._torch, self._device = torch, device
        self.version = torch.__version__

    def load(self, path, shape):
        """See ``OnnxRuntime``; on CUDA a call ends when the device has finished."""
        torch = self._torch
        program = torch.jit.load(str(path), map_location=self._device).eval()
        values = torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(self._device)

        def call():
            with torch.inference_mode():
                program(values)
            if self._device == "cuda":
                torch.cuda.synchronize()

        return call

    def processor(self):
        """See ``OnnxRuntime``."""
        return self._torch.cuda.get_device_name()


def load(runtime, folder, piece, batch):
    """A piece of the list; what the runtime can't do ends in one line."""
    try:
        return runtime.load(Path(folder) / piece["file"], (batch, *piece["shape"]))
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise SystemExit(f"the runtime cannot run {piece['name']}: {reason}") from error


def processor():
    """The CPU's name, as far as the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith(("model name", "Hardware"))]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else ".")
