"""Checking a folder: a line a file, what it is and what to do; sums against hashlib on the bytes."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from distilnas.checksums import Checked, check_folder, is_noted, note, require_intact, sealed, settle
from distilnas.errors import UsageError
from distilnas.files import is_leftover, remove_leftovers, write_json, write_text

RECORD: dict[str, Any] = {
    "schema": 1, "name": "solve", "key": "k", "inputs": {},
    "result": {"top1": 9.5, "nested": [1, None]}, "seconds": 1.5,
}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    run = tmp_path / "run"
    write_text(run / "solve" / "a.json", "{}")
    write_text(run / "solve" / "sub" / "b.npz", "b")
    files = {"a.json": 2, "sub/b.npz": 1}
    write_json(run / "solve" / "step.json", sealed(RECORD | {"files": files}, run / "solve", files))
    write_text(run / "old" / "c.json", "c")
    write_json(run / "old" / "step.json", RECORD | {"files": {"c.json": 1}})
    write_text(run / "begun" / "checkpoint.safetensors", "half")
    write_text(run / "run.json", "{}")
    write_text(run / "summary.json", "{}")
    note(run, "run.json", "summary.json", "report.html")
    (run / ".lock").touch()
    return run


def states(run: Path) -> dict[str, str]:
    return {found.path: found.state for found in check_folder(run)}


def test_every_file_has_its_line(run: Path):
    assert states(run) == {
        "begun/checkpoint.safetensors": "unchecked",
        "files.json": "ok",
        "old/c.json": "unchecked",
        "old/step.json": "unchecked",
        "run.json": "ok",
        "solve/a.json": "ok",
        "solve/step.json": "ok",
        "solve/sub/b.npz": "ok",
        "summary.json": "ok",
    }
    require_intact(run)


def test_the_sums_are_those_of_the_bytes(run: Path):
    record = json.loads((run / "solve" / "step.json").read_text())
    assert record["sha256"]["a.json"] == hashlib.sha256(b"{}").hexdigest()
    content = {key: value for key, value in record.items() if key != "record_sha256"}
    assert record["record_sha256"] == hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def test_every_flipped_bit_is_found(run: Path):
    for path in [path for path, state in states(run).items() if state == "ok"]:
        file = run / path
        whole = file.read_bytes()
        for byte in range(0, len(whole), 7):
            data = bytearray(whole)
            data[byte] ^= 1 << byte % 7
            file.write_bytes(data)
            same = path.endswith((".json",)) and "step" in path + "files" and _equal(data, whole)
            assert same or "changed" in states(run).values() or _unreadable(run, path), (path, byte)
        file.write_bytes(whole)


def _equal(data: bytearray, whole: bytes) -> bool:
    try:
        return json.loads(data) == json.loads(whole)
    except ValueError:
        return False


def _unreadable(run: Path, path: str) -> bool:
    """A record that cannot be read leaves its files without sums: none of them is called ok."""
    folder = Path(path).parent.as_posix()
    return not any(s == "ok" for p, s in states(run).items() if Path(p).parent.as_posix() == folder)


@pytest.mark.parametrize(
    ("path", "remedy"),
    [
        ("solve/a.json", "delete the step solve ({run}/solve) and run the same command again"),
        ("solve/sub/b.npz", "delete the step solve ({run}/solve) and run the same command again"),
        ("summary.json", "delete it and run the same command again"),
    ],
)
def test_the_remedy(run: Path, path: str, remedy: str):
    wanted = remedy.format(run=run)
    (run / path).write_text("other")
    assert Checked(path=path, state="changed", remedy=wanted) in check_folder(run)
    with pytest.raises(UsageError, match="changed since it was written") as refused:
        require_intact(run)
    assert wanted in str(refused.value)
    (run / path).unlink()
    assert Checked(path=path, state="missing", remedy=wanted) in check_folder(run)
    require_intact(run)  # what is gone is not believed either


def test_a_student_alone(tmp_path: Path):
    write_text(tmp_path / "model.safetensors", "weights")
    write_json(tmp_path / "student.json", {"weights_sha256": hashlib.sha256(b"weights").hexdigest()})
    assert states(tmp_path) == {"model.safetensors": "ok", "student.json": "unchecked"}
    write_text(tmp_path / "model.safetensors", "weightz")
    assert states(tmp_path)["model.safetensors"] == "changed"


def test_notes_follow_what_is_written(run: Path):
    assert is_noted(run, "summary.json")
    write_text(run / "summary.json", "{ }")
    assert not is_noted(run, "summary.json")
    note(run, "summary.json")
    assert is_noted(run, "summary.json")
    (run / "summary.json").unlink()
    note(run, "run.json")
    assert not is_noted(run, "summary.json")
    assert "summary.json" not in states(run)


def test_leftovers_are_those_of_our_writes_alone(run: Path):
    for name in (".summary.json.abcd1234", ".report.html.x_9zzzz0", ".model.safetensors.00000000"):
        assert is_leftover(name)
        write_text(run / "solve" / "sub" / name, "half")
    mine = run / ".notes.txt"
    mine.touch()
    remove_leftovers(run)
    assert {p.name for p in run.rglob(".*")} == {".lock", ".notes.txt"}
    assert not is_leftover(".ssh.20261129")


def test_what_was_written_before_a_kill_is_noted_later(tmp_path: Path):
    """As after a kill between writing and noting: sums of today's files, but none changed of those that are known."""
    for name in ("new.md", "known.md", "gone.md"):
        (tmp_path / name).write_text(name)
    note(tmp_path, "known.md", "gone.md")
    (tmp_path / "known.md").write_text("edited")
    (tmp_path / "gone.md").unlink()
    settle(tmp_path, "new.md", "known.md", "gone.md")
    states = {entry.path: entry.state for entry in check_folder(tmp_path)}
    assert states == {"files.json": "ok", "known.md": "changed", "new.md": "ok"}
