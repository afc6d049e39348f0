"""Bad input: one short message on stderr, the right exit code, no traceback, nothing half-written."""

import errno
import os
import shutil
from pathlib import Path

import pytest
import torch
from cli_call import Answer, Cli

from distilnas.runtime.store import Run


def check(answer: Answer, message: str, code: int = 2) -> None:
    assert answer.code == code, answer.err
    assert answer.error.get("kind") in (None, "infeasible" if code == 3 else "usage")
    assert "Traceback" not in answer.err
    errors = answer.err[answer.err.index("error:") :]
    assert message in errors, errors
    assert errors.count("\n") == 1, "one line"


def files(run: Path) -> list[str]:
    return sorted(p.name for p in run.rglob("*") if p.is_file() and p.name != ".lock")


def distorted(photos: Path, root: Path, what: str) -> Path:
    """A copy of the image folder with one thing wrong."""
    copy = Path(shutil.copytree(photos, root / "photos"))
    if what == "empty":
        shutil.rmtree(copy)
        copy.mkdir()
    elif what == "one image":
        for file in sorted((copy / "red").iterdir())[1:]:
            file.unlink()
    elif what == "corrupt":
        for file in (copy / "red").iterdir():
            file.write_bytes(file.read_bytes()[:60])
    elif what == "test classes":
        shutil.copytree(copy, root / "both" / "train")
        shutil.copytree(copy / "red", root / "both" / "test" / "purple")
        return root / "both"
    return copy


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("empty", "has no subfolders"),
        ("one image", "at least 2 readable training images"),
        ("corrupt", "may be unreadable"),
        ("test classes", "purple"),
    ],
)
def test_image_folders(cli: Cli, config: Path, photos: Path, tmp_path: Path, what: str, message: str):
    folder = distorted(photos, tmp_path, what)
    check(cli("run", config, f"data.path={folder}", "--run", tmp_path / "run"), message)
    assert not files(tmp_path / "run")


@pytest.mark.parametrize(
    ("override", "message", "code"),
    [
        ("data.path=/nowhere/photos", "no such path", 2),
        ("distil.epochs=3", "did you mean 'distill'", 2),
        ("teacher.model=resnet10", "did you mean 'resnet10t'", 2),
        ("teacher.partition=[layer1,layer22]", "did you mean 'layer2'", 2),
        ("data.resolution=8", "larger images", 2),
        ("solve.max_macs=1k", "smallest reachable macs is", 3),
        ("solve.max_macs=lots", "not an amount", 2),
        ("rate.images=100", "must leave one image for each class", 2),
        ("distill.epochs=x", "setting distill.epochs", 2),
        ("distill.blocks=[9]", "there are blocks 1 to 4", 2),
    ],
)
def test_settings(cli: Cli, config: Path, tmp_path: Path, override: str, message: str, code: int):
    check(cli("run", config, override, "--run", tmp_path / "run", "--json"), message, code)
    assert not files(tmp_path / "run")


def test_commands(cli: Cli, tmp_path: Path):
    check(cli("run", "quickstar"), "did you mean 'quickstart'")
    check(cli("run", "quickstart", "seed"), "not an override")
    check(cli("distill"), "which run?")
    check(cli("solve", "--run", tmp_path), "is not a run folder")
    check(cli("zoo", "show", "dna-x"), "did you mean")
    check(cli("config", "show", tmp_path / "no.yaml"), "cannot read")


def test_state_dict_that_does_not_fit(cli: Cli, config: Path, tmp_path: Path):
    torch.save({"wrong.weight": torch.zeros(3)}, tmp_path / "wrong.pth")
    check(cli("run", config, f"teacher.weights={tmp_path / 'wrong.pth'}", "--run", tmp_path / "run"), "entry by entry")
    assert not files(tmp_path / "run")


@pytest.mark.parametrize("step", ["teacher.fit", "distill"])
def test_diverging_training(cli: Cli, config: Path, tmp_path: Path, step: str):
    fast = (f"{step}.optim.lr=1e30", f"{step}.optim.warmup=0", f"{step}.epochs=4")
    check(cli("distill", config, *fast, "--run", tmp_path / "run"), "is not finite")
    assert not (tmp_path / "run" / "distill" / "step.json").exists()


def test_run_of_another_configuration(cli: Cli, config: Path, tmp_path: Path):
    assert cli("cost", config, "--run", tmp_path / "run").code == 0
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    check(cli("cost", config, "seed=1", "--run", tmp_path / "run"), "seed: 0 there, 1 asked")
    assert before == {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    with Run(tmp_path / "run"):
        check(cli("cost", "--run", tmp_path / "run"), "another process is working on")


def test_damaged_checkpoint(cli: Cli, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    checkpoint = tmp_path / "run" / "distill" / "checkpoint.safetensors"
    arguments = ("distill", config, "runtime.checkpoint_seconds=0", "--run", tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr("distilnas.recipes.distilling.write_bytes", full_disk)
        check(cli(*arguments), "No space left", code=2)
    checkpoint.write_bytes(checkpoint.read_bytes()[: checkpoint.stat().st_size // 2])
    check(cli(*arguments), "Delete this file and run the same command again")
    checkpoint.unlink()
    assert cli(*arguments).code == 0


def full_disk(*_: object) -> None:
    from distilnas.errors import UsageError

    raise UsageError("No space left")


def test_full_disk(cli: Cli, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    assert cli("cost", config, "--run", tmp_path / "run").code == 0
    with monkeypatch.context() as patch:
        patch.setattr("distilnas.files.os.fsync", full)
        check(cli("rate", config, "--run", tmp_path / "run"), "no space left to write")
    assert not [name for name in files(tmp_path / "run") if name.startswith(".")]
    assert cli("rate", config, "--run", tmp_path / "run").code == 0


def test_traceback_on_request(cli: Cli):
    assert "Traceback" in cli("config", "show", "quickstar", "-v").err
