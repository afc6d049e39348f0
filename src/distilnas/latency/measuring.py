"""Measuring networks, each time in processes of their own, which ``stopwatch`` is."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from distilnas.errors import DistilnasError, UsageError
from distilnas.files import read_json, write_json
from distilnas.latency import stopwatch
from distilnas.latency.intervals import Timing, timing
from distilnas.latency.pieces import Piece
from distilnas.latency.settings import LatencySettings
from distilnas.runtime.progress import Progress, SilentProgress

PROCESSES = 6  # the fewest whose least and greatest median hold the true one with 95 %
SECONDS = 1.5
_TURNS = 400
_BUSY = 0.1  # share of the time waited, or change of pace, from which a machine counts as busy
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, kw_only=True, eq=False)
class Measurement:
    """``times[process][row][piece]``: (turns,) milliseconds. ``facts``: what each process said of itself and its
    machine.

    A process has its luck with memory and neighbours throughout, so that what is sure is counted in processes.
    """

    times: tuple[tuple[tuple[np.ndarray, ...], ...], ...]
    facts: tuple[Mapping[str, Any], ...]

    def ms(self, row: int, piece: int = 0) -> Timing:
        """Of a piece of a row."""
        return timing([float(np.median(process[row][piece])) for process in self.times])

    def ratio(self, row: int, reference: int) -> Timing:
        """Of the first pieces of two rows, turn by turn: a slow minute of the machine is in both."""
        return timing([float(np.median(process[row][0] / process[reference][0])) for process in self.times])

    @property
    def version(self) -> str:
        """Of the runtime."""
        return str(self.facts[0]["version"])

    @property
    def processor(self) -> str:
        """What computed it."""
        return str(self.facts[0]["processor"])

    @property
    def waited(self) -> float:
        """Time that other programs took, over that which was measured; not in the figures of one thread."""
        return float(np.median([fact["waited"] for fact in self.facts]))

    @property
    def drift(self) -> float:
        """By what share the pace of the machine changed from the quickest to the slowest look at it."""
        paces = [ms for fact in self.facts for ms in fact["calibration_ms"]]
        return max(paces) / min(paces) - 1

    @property
    def doubt(self) -> str | None:
        """One line where the machine was busy."""
        wall = any(fact["clock"] == "wall" for fact in self.facts)
        found = [f"other programs took {self.waited:.0%} on top of it"] if not wall and self.waited > _BUSY else []
        found += [f"its pace changed by {self.drift:.0%}"] if self.drift > _BUSY else []
        if not found:
            return None
        return f"the machine was busy while latency was measured: {' and '.join(found)}; measure again on a quiet one."


def measure(
    rows: Sequence[Sequence[Piece]],
    settings: LatencySettings,
    *,
    seconds: float = SECONDS,
    processes: int = PROCESSES,
    progress: Progress | None = None,
) -> Measurement:
    """Time all ``rows`` by turns, for ``seconds`` in each of several ``processes``, one after the other.

    Raises ``UsageError`` for what the runtime can't run or a device that is not there.
    """
    if settings.device == "cpu" and settings.threads > (os.cpu_count() or 1):
        raise UsageError(f"latency.threads is {settings.threads}, but this machine has {os.cpu_count()} processors.")
    with tempfile.TemporaryDirectory(prefix="latency-") as name:
        folder = Path(name)
        write_list(folder, rows, settings, seconds=seconds)
        found = []
        with (progress or SilentProgress()).task("measuring latency", processes) as task:
            for _ in range(processes):
                found.append(_run(folder, settings))
                task.advance()
    return measurement(found)


def device_of(settings: LatencySettings) -> dict[str, str]:
    """Runtime's version and processor here: what a measurement holds for."""
    if settings.runtime == "torch" or settings.device == "cuda":
        import torch

        version = torch.__version__
        name = torch.cuda.get_device_name() if settings.device == "cuda" and torch.cuda.is_available() else None
    else:
        version, name = onnxruntime.__version__, None
    return {"version": version, "processor": name or stopwatch.processor()}


def write_list(
    folder: Path, rows: Sequence[Sequence[Piece]], settings: LatencySettings, *, seconds: float, key: str = ""
) -> None:
    """What ``stopwatch`` reads; ``key`` tells the list from others."""
    files: dict[bytes, str] = {}
    told = []
    for row in rows:
        pieces = []
        for piece in row:
            if piece.data not in files:
                files[piece.data] = f"piece-{len(files):04d}.{piece.suffix}"
                (folder / files[piece.data]).write_bytes(piece.data)
            pieces.append({"name": piece.name, "file": files[piece.data], "shape": list(piece.shape)})
        told.append(pieces)
    asked = {"schema": stopwatch.SCHEMA, "key": key, **asdict(settings), "seconds": seconds, "turns": _TURNS}
    write_json(folder / stopwatch.LIST, asked | {"rows": told})


def measurement(found: Sequence[Mapping[str, Any]]) -> Measurement:
    """From what ``stopwatch`` wrote, process by process."""
    times = tuple(tuple(tuple(np.array(piece) for piece in row) for row in one["rows"]) for one in found)
    facts = tuple({name: value for name, value in one.items() if name != "rows"} for one in found)
    return Measurement(times=times, facts=facts)


def _run(folder: Path, settings: LatencySettings) -> dict[str, Any]:
    environment = os.environ | dict.fromkeys(_THREADS, str(settings.threads))
    command = [sys.executable, "-P", str(Path(stopwatch.__file__)), str(folder)]
    done = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode == 1:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise UsageError(f"latency could not be measured: {reason}")
    if done.returncode:
        raise DistilnasError(f"the process that measures latency ended with code {done.returncode}: run it again.")
    return read_json(stopwatch.written(folder)[-1])
