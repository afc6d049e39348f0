"""What the command line says of damage, leftovers, odd names, signals and a lack of memory."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_call import Answer, Cli
from tiny_run import tiny_settings, write_config

from distilnas.cli import console
from distilnas.cli.stopping import Interrupted, memory_text, signals_caught
from distilnas.errors import UsageError
from distilnas.recipes.dna.recipe import run_dna
from distilnas.runtime.store import Run


@pytest.fixture(scope="session")
def done(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trust")
    run_dna(tiny_settings(folder, photos), folder / "run")
    return folder / "run"


@pytest.fixture
def run(done: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(done, tmp_path / "run"))


def error_line(answer: Answer, code: int = 2) -> str:
    assert answer.code == code, answer.err
    assert "Traceback" not in answer.err
    errors = answer.err[answer.err.index("error:") :]
    assert errors.count("\n") == 1, errors
    return errors


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def one(run: Path, pattern: str) -> Path:
    return next(run.glob(pattern))


ARTEFACTS = (
    "teacher/teacher.safetensors",
    "distill/supernet.safetensors",
    "rate/ratings.npz",
    "cost/costs.npz",
    "space/space.json",
    "solve/architecture.json",
    "solve/solution.json",
    "additivity/additivity.json",
    "students/*/retrain/model.safetensors",
    "students/*/export/model.safetensors",
    "students/*/export/model.onnx",
    "students/*/export/student.json",
    "students/*/retrain/history.json",
)


@pytest.mark.parametrize("pattern", ARTEFACTS)
def test_a_flipped_bit_is_named_and_the_remedy_helps(cli: Cli, config: Path, run: Path, pattern: str):
    path = one(run, pattern)
    flip(path)
    answer = cli("check", run)
    assert answer.code == 1
    (line,) = (line for line in answer.out.splitlines() if line.startswith("changed"))
    assert f"{path.relative_to(run)}  delete the step {path.parent.name} ({path.parent})" in line
    assert f"{path} changed" in error_line(cli("run", config, "--run", run, "--json"))
    assert f"{path} changed" in error_line(cli("report", run))
    shutil.rmtree(path.parent)
    if pattern.startswith(("solve", "cost", "additivity")):  # the quick ones
        assert cli("run", config, "--run", run).code == 0
        assert cli("check", run).code == 0


def test_a_result_that_was_changed_is_not_reported(cli: Cli, config: Path, run: Path):
    record = one(run, "students/*/evaluate/step.json")
    data = json.loads(record.read_text())
    data["result"]["top1"] = 99.9
    record.write_text(json.dumps(data, indent=2) + "\n")
    assert "step.json changed" in error_line(cli("run", config, "--run", run))
    assert "step.json changed" in error_line(cli("report", run))
    assert cli("check", run, "--json").code == 1


def test_a_whole_run_is_checked_line_by_line(cli: Cli, run: Path):
    answer = cli("check", run)
    assert answer.code == 0, answer.out
    files = [p for p in run.rglob("*") if p.is_file() and not p.name.startswith(".")]
    assert len(answer.out.splitlines()) == len(files) + 1
    assert answer.out.splitlines()[-1] == f"{len(files)} ok"
    record = json.loads(cli("check", run, "--json").out)
    assert record["intact"]
    assert {entry["state"] for entry in record["files"]} == {"ok"}
    (run / "report.html").unlink()
    assert cli("check", run).code == 1


def test_what_is_no_run_is_not_checked(cli: Cli, tmp_path: Path):
    assert "is no folder" in error_line(cli("check", tmp_path / "nowhere"))
    assert "neither a run" in error_line(cli("check", tmp_path))


def test_a_changed_summary_is_written_again(cli: Cli, config: Path, run: Path):
    summary = (run / "summary.json").read_bytes()
    flip(run / "summary.json")
    assert "delete it and run the same command" in error_line(cli("report", run))
    assert cli("run", config, "--run", run).code == 0
    assert json.loads((run / "summary.json").read_bytes())["student"] == json.loads(summary)["student"]
    assert cli("check", run).code == 0


def test_leftovers_of_killed_writes_are_removed(cli: Cli, config: Path, tmp_path: Path):
    run = tmp_path / "run"
    run.mkdir()
    for name in (".lock", ".run.json.abcd1234"):
        (run / name).touch()
    assert cli("cost", config, "--run", run).code == 0
    for name in (".summary.json.abcd1234", "space/.space.json.0000zzzz", "teacher/.step.json._1234567"):
        (run / name).touch()
    assert cli("cost", config, "--run", run).code == 0
    assert [p.name for p in run.rglob(".*")] == [".lock"]


@pytest.mark.parametrize("name", ["m[/b]", "r [old]:cat:", "r\udcff", "r\nx"])
def test_names_are_never_markup(cli: Cli, photos: Path, tmp_path: Path, name: str):
    (tmp_path / "c").mkdir()
    config = write_config(tmp_path / "c", photos)
    answer = cli("cost", config, "--run", tmp_path / name)
    assert answer.code == 0, answer.err
    assert str(tmp_path / name).replace("\udcff", "\\udcff") in answer.out
    error_line(cli("report", tmp_path / name / "none"))


def test_whole_run_in_a_folder_named_like_markup(cli: Cli, config: Path, done: Path, tmp_path: Path):
    run = Path(shutil.copytree(done, tmp_path / "m[/b] [red]:cat:"))
    answer = cli("run", config, "--run", run)
    assert answer.code == 0, answer.err
    assert f"{run}/report.html" in answer.out


SLOW = "distill.epochs=100000"


@pytest.fixture(autouse=True)
def as_in_a_terminal() -> Iterator[None]:
    """No signal is ignored, as it may be where the tests were started in the background."""
    usual = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGHUP: signal.SIG_DFL,
    }
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_an_interrupted_run_says_what_is_kept_and_goes_on(config: Path, tmp_path: Path, number: int, code: int):
    run = tmp_path / "run"
    command = [sys.executable, "-m", "distilnas", "distill", str(config), SLOW, "--run", str(run)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ)
    try:
        for _ in range(1200):
            if (run / "distill" / "started.json").exists():
                break
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == code
    assert "Traceback" not in said
    line = said.splitlines()[-1]
    assert f"({signal.Signals(number).name}) at distill: what is done is kept in {run}" in line
    assert "the same command continues" in line
    with Run(run):
        pass  # the lock is free
    assert (run / "space" / "step.json").exists()


def test_a_command_without_a_run_only_ends(cli: Cli, monkeypatch: pytest.MonkeyPatch):
    def stop(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(console.work, "folder", None)
    monkeypatch.setattr("distilnas.networks.zoo.create", stop)
    answer = cli("profile", "resnet18")
    assert (answer.code, answer.err) == (143, "interrupted (SIGTERM).\n")
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_signal_that_python_drops_comes_again():
    """What is raised in a ``__del__`` goes no further; a process that was to end would go on for ever."""

    class Busy:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    def work(busy: list[Busy]) -> None:
        busy.clear()
        time.sleep(60)

    with signals_caught(), pytest.raises(Interrupted, match="SIGINT"):
        work([Busy()])


def test_ignored_signals_stay_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals_caught():
            os.kill(os.getpid(), signal.SIGHUP)
            with pytest.raises(Interrupted, match="SIGINT"):
                signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("error", "needed"),
    [
        (MemoryError("Unable to allocate 8.50 GiB for an array with shape (3,)"), "9.1 GB more were needed"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 30000000000 bytes. Error"),
            "30",
        ),
        (RuntimeError("CUDA out of memory. Tried to allocate 512.00 MiB. GPU 0"), "0.5 GB more were needed"),
        (MemoryError(), "more is needed"),
        (OSError(12, "Cannot allocate memory"), "more is needed"),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "more is needed"),
    ],
)
def test_a_lack_of_memory_is_one_line(cli: Cli, monkeypatch: pytest.MonkeyPatch, error: Exception, needed: str):
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("distilnas.networks.zoo.create", fail)
    line = error_line(cli("profile", "resnet18"))
    assert "out of memory" in line
    assert needed in line
    assert "Lower data.resolution" in line


def test_other_errors_are_no_lack_of_memory():
    assert memory_text(RuntimeError("shapes do not match")) is None
    wrapped = UsageError("cannot be built")
    wrapped.__cause__ = MemoryError()
    assert memory_text(wrapped) is not None


def test_memory_limited_by_the_system(config: Path, tmp_path: Path):
    """As ``ulimit -v`` does; wherever it strikes, one line and no traceback."""
    limit = "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv.pop(1)),) * 2); "
    start = "from distilnas.cli.main import main; main()"
    for number in (1_200_000_000, 3_300_000_000, 4_500_000_000):
        command = [sys.executable, "-c", limit + start, str(number), "run", str(config), "--run", str(tmp_path / "run")]
        found = subprocess.run([*command, "data.resolution=640"], capture_output=True, text=True, check=False)
        if found.returncode:
            assert found.returncode == 2, found.stderr
            assert "Traceback" not in found.stderr
            assert "out of memory" in found.stderr.splitlines()[-1]
