"""Two processes recover a student: the learned weights have the bits of one process that passes half batches."""

import os
import subprocess
import sys
from pathlib import Path

import recover_together
import torch
from safetensors.torch import load_file

from distilnas.files import read_json

LAUNCHER = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
OF_BATCHES = ("running_mean", "running_var", "num_batches_tracked")  # those of the first process's images


def test_two_processes_are_one_with_half_batches(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        recover_together.main(tmp_path / "one", 4)
    finally:
        torch.set_num_threads(threads)
    words = [*LAUNCHER, recover_together.__file__, str(tmp_path / "two"), "0"]
    done = subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    one, two = (load_file(tmp_path / name / "weights") for name in ("one", "two"))
    of_one, of_two = (read_json(tmp_path / name / "found.json") for name in ("one", "two"))
    assert of_one["lr"] == of_two["lr"]
    assert of_one["updates"] == of_two["updates"] == 20
    assert all((found["best"], found["trials"], found["trial_updates"]) == (1, 2, 5) for found in (of_one, of_two))
    assert [epoch["loss"] for epoch in of_one["log"]] == [epoch["loss"] for epoch in of_two["log"]]
    learned = [name for name in one if not name.endswith(OF_BATCHES)]
    assert len(learned) >= 6
    assert all(torch.equal(one[name], two[name]) for name in learned)
