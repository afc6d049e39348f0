"""Forecast seconds against those of finished runs, on a quiet machine: probe, run, probe, each a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_run import write_config
from tiny_shrink import write_shrink

pytestmark = pytest.mark.slow
WITHIN = 0.25
ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}


def distilnas(*arguments: object) -> Any:
    command = (sys.executable, "-m", "distilnas", *map(str, arguments), "--json")
    return json.loads(subprocess.run(command, env=ENVIRONMENT, check=True, stdout=subprocess.PIPE).stdout)


def ratios(run: Path, probe_seconds: int, *config: object) -> dict[str, float]:
    """Forecast over real seconds, by step: the mean of a probe before and one after the run, which knows the student
    that was found; of retraining and its test the latter alone."""
    probe = ("plan", *config, "--seconds", probe_seconds)
    before = distilnas(*probe)["steps"]
    real = distilnas("run", *config, "--run", run)["seconds"]
    known = run / "solve" / "architecture.json"
    after = distilnas(*probe, *(("--architecture", known) if known.exists() else ()))["steps"]
    found = {}
    for name, row in after.items():
        if row["seconds"] is not None and real[name] > 0:
            first = after if name in ("retrain", "evaluate") else before
            found[name] = (first[name]["seconds"] + row["seconds"]) / 2 / real[name]
    return found


def check(found: dict[str, float], names: tuple[str, ...] = ("teacher", "distill", "rate", "retrain")) -> None:
    shown = {name: round(ratio, 2) for name, ratio in found.items()}
    for name in names:
        assert abs(found[name] - 1) <= WITHIN, shown


def test_quickstart(tmp_path: Path):
    check(ratios(tmp_path / "run", 60, "quickstart"))


def test_a_run_of_some_seconds(images: Path, tmp_path: Path):
    epochs = ("teacher.fit.epochs=20", "distill.epochs=30", "retrain.epochs=20", "rate.images=32")
    check(ratios(tmp_path / "run", 20, write_config(tmp_path, images), *epochs))


def test_a_shrinking(images: Path, tmp_path: Path):
    epochs = ("teacher.fit.epochs=20", "recovery.epochs=60", "library.images=64", "choice.curve=6")
    found = ratios(tmp_path / "run", 20, write_shrink(tmp_path, images), *epochs)
    check(found, ("teacher", "library", "choose", "curve", "recover"))
