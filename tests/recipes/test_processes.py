"""Two processes on one run: the bits of one process that passes half batches one after the other, also after a kill."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from test_kill import ENVIRONMENT, PYTHON, kill_when_there
from tiny_run import arrays, write_config

LAUNCHER = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
TOGETHER = (*LAUNCHER, "-m", "--", "distilnas")
Done = subprocess.CompletedProcess[str]


def call(start: tuple[str, ...], verb: str, config: Path, run: Path, *settings: str) -> Done:
    words = [*start, verb, str(config), "--run", str(run), *settings]
    return subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True, check=False)


def kill_workers(launcher: int, number: int) -> None:
    """Kill both processes that were launched; the launcher then ends by itself."""
    workers = [int(pid) for pid in Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()]
    assert len(workers) == 2
    for worker in workers:
        os.kill(worker, number)


@pytest.fixture(scope="module")
def taught(images: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[str, ...]]:
    """The configuration, and settings for a teacher that two processes have trained."""
    folder = tmp_path_factory.mktemp("processes")
    config = write_config(folder, images)
    for start, name, settings in ((PYTHON, "one", ("teacher.fit.micro_batch=12",)), (TOGETHER, "two", ())):
        assert call(start, "cost", config, folder / name, *settings).returncode == 0
    return config, (f"teacher.weights={folder / 'two' / 'teacher' / 'teacher.safetensors'}", "teacher.fit=null")


def test_a_classifier_has_the_weights_of_half_batches(taught: tuple[Path, tuple[str, ...]]):
    """All but the running statistics of batch norm, which are those of the first process's images."""
    one, two = (load_file(taught[0].parent / name / "teacher" / "teacher.safetensors") for name in ("one", "two"))
    learned = [name for name in one if not name.endswith(("running_mean", "running_var", "num_batches_tracked"))]
    assert learned
    for name in learned:
        assert np.array_equal(one[name], two[name]), name


def test_ratings_have_the_bits_of_half_batches_also_after_a_kill(taught: tuple[Path, tuple[str, ...]], tmp_path: Path):
    config, teacher = taught
    long = (*teacher, "distill.epochs=4", "runtime.checkpoint_seconds=0")
    assert call(PYTHON, "rate", config, tmp_path / "one", *long, "distill.micro_batch=8").returncode == 0
    killed = tmp_path / "killed"
    words = [*TOGETHER, "distill", str(config), "--run", str(killed), *long]
    with subprocess.Popen(words, env=ENVIRONMENT, stderr=subprocess.DEVNULL) as process:
        kill_when_there(process, killed / "distill" / "checkpoint.safetensors", kill=kill_workers)
    assert not (killed / "distill" / "step.json").exists()
    resumed = call(TOGETHER, "rate", config, killed, *long)
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout.count("rate: done") == 1
    halves, together = (arrays(run / "rate" / "ratings.npz") for run in (tmp_path / "one", killed))
    assert halves.keys() == together.keys()
    for name, values in halves.items():
        assert np.array_equal(values, together[name]), name


def test_a_batch_that_does_not_divide_is_refused(taught: tuple[Path, tuple[str, ...]], tmp_path: Path):
    config, teacher = taught
    done = call(TOGETHER, "distill", config, tmp_path / "run", *teacher, "distill.batch_size=15")
    assert done.returncode == 1  # the launcher's
    assert "2 processes cannot share batch_size=15 (micro_batch=None) equally" in done.stderr
    assert not (tmp_path / "run").exists()
