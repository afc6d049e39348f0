"""A run killed in the middle of distillation ends with the bits of one that was never interrupted."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tiny_run import arrays, write_config

PYTHON = (sys.executable, "-m", "distilnas")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
LONG = ("distill.epochs=12", "runtime.checkpoint_seconds=0")


def command(verb: str, config: Path, run: Path) -> list[str]:
    return [*PYTHON, verb, str(config), *LONG, "--run", str(run)]


def kill_when_there(process: subprocess.Popen[bytes], path: Path, kill: Callable[[int, int], None] = os.kill) -> None:
    end = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, "ended before it wrote a checkpoint"
        assert time.monotonic() < end, "no checkpoint"
        time.sleep(0.005)
    kill(process.pid, signal.SIGKILL)
    process.wait()


def test_killed_run_ends_with_the_same_bits(images: Path, tmp_path: Path):
    config = write_config(tmp_path, images)
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    with subprocess.Popen(command("distill", config, killed), env=ENVIRONMENT, stderr=subprocess.DEVNULL) as process:
        kill_when_there(process, killed / "distill" / "checkpoint.safetensors")
    assert process.returncode == -signal.SIGKILL
    assert not (killed / "distill" / "step.json").exists()
    for run in (killed, whole):
        subprocess.run(command("rate", config, run), env=ENVIRONMENT, check=True, capture_output=True)
    resumed, uninterrupted = (arrays(run / "rate" / "ratings.npz") for run in (killed, whole))
    assert resumed.keys() == uninterrupted.keys()
    for name, values in uninterrupted.items():
        assert np.array_equal(resumed[name], values), name
