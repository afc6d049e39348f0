"""The run folder: locked, bound to one configuration, finished work skipped, foreign files never touched."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distilnas.errors import UsageError
from distilnas.files import write_text
from distilnas.runtime.store import Run, key_of


class Work:
    """Counts its calls; writes one file."""

    def __init__(self, text: str = "result", fails: bool = False) -> None:
        self.text, self.fails = text, fails
        self.calls = 0
        self.found: list[str] = []

    def __call__(self, folder: Path) -> dict[str, Any]:
        self.calls += 1
        self.found = sorted(path.name for path in folder.iterdir())
        write_text(folder / ("checkpoint" if self.fails else "sub/out.txt"), self.text)
        if self.fails:
            raise KeyboardInterrupt
        return {"text": self.text, "seconds_before": 100.0}


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from distilnas.runtime.store import Run; Run(Path(sys.argv[1]))"
    start = [sys.executable, "-c", code, str(tmp_path / "run")]
    with Run(tmp_path / "run"):
        second = subprocess.run(start, capture_output=True, text=True, check=False)
        assert second.returncode != 0
        assert "another process is working on" in second.stderr
        with pytest.raises(UsageError, match="another process"):
            Run(tmp_path / "run")
    assert subprocess.run(start, capture_output=True, check=False).returncode == 0


def test_a_file_is_no_run_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UsageError, match=r"is a file|cannot work in"):
            Run(path)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_with_foreign_files_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"cat")
    with Run(tmp_path) as run, pytest.raises(UsageError, match=r"holds other files \(photos\); give an empty folder"):
        run.claim({"seed": 0})
    assert (tmp_path / "photos" / "cat.jpg").read_bytes() == b"cat"
    assert not (tmp_path / "run.json").exists()


def test_a_run_belongs_to_one_configuration(tmp_path: Path) -> None:
    with Run(tmp_path / "run") as run:
        run.claim({"seed": 0, "teacher.model": "resnet18", "sizes": [1, 2], "none": None})
    with Run(tmp_path / "run") as run:
        run.claim({"seed": 0, "teacher.model": "resnet18", "sizes": [1, 2]})
        with pytest.raises(UsageError, match=r"\(teacher\.model: 'resnet18' there, 'resnet34' asked\)"):
            run.claim({"seed": 0, "teacher.model": "resnet34", "sizes": [1, 2]})


def test_finished_work_is_skipped(tmp_path: Path) -> None:
    with Run(tmp_path / "run") as run:
        work = Work()
        first = run.step("a/b", {"x": 1}, work)
        again = run.step("a/b", {"x": 1}, work)
    assert work.calls == 1
    assert (first.skipped, again.skipped) == (False, True)
    assert first.result == again.result == {"text": "result"}
    assert first.key == again.key == key_of({"x": 1})
    assert again.seconds == first.seconds >= 100
    assert again.folder == tmp_path / "run" / "a" / "b"


def test_other_inputs_start_clean(tmp_path: Path) -> None:
    with Run(tmp_path / "run") as run:
        run.step("neighbour", {"x": 1}, Work())
        run.step("step", {"x": 1}, Work("one"))
        work = Work("two")
        assert run.step("step", {"x": 2}, work).result == {"text": "two"}
        assert work.found == ["started.json"]
        assert run.finished("step", {"x": 1}) is None
        assert run.finished("neighbour", {"x": 1}) is not None


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2])


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("sub/out.txt", Path.unlink),
        ("started.json", Path.unlink),
        ("step.json", Path.unlink),
        ("step.json", _truncate),
    ],
)
def test_work_that_is_gone_is_done_again(tmp_path: Path, name: str, damage: Callable[[Path], None]) -> None:
    with Run(tmp_path / "run") as run:
        run.step("step", {"x": 1}, Work())
        damage(tmp_path / "run" / "step" / name)
        assert run.finished("step", {"x": 1}) is None
        again = run.step("step", {"x": 1}, Work())
        assert not again.skipped
        assert run.finished("step", {"x": 1}) is not None


@pytest.mark.parametrize("record", ["[]", "{}", '{"schema": 0}', "nonsense"])
def test_a_strange_record_is_no_record(tmp_path: Path, record: str) -> None:
    with Run(tmp_path / "run") as run:
        write_text(tmp_path / "run" / "step" / "step.json", record)
        assert run.finished("step", {"x": 1}) is None


def test_interrupted_work_keeps_its_checkpoint_for_the_same_inputs_only(tmp_path: Path) -> None:
    for inputs, found in ({"x": 1}, []), ({"x": 1}, ["checkpoint"]), ({"x": 2}, []):
        work = Work(fails=True)
        with pytest.raises(KeyboardInterrupt), Run(tmp_path / "run") as run:
            run.step("step", inputs, work)
        assert work.found == sorted([*found, "started.json"])
    with Run(tmp_path / "run") as run:
        assert run.finished("step", {"x": 2}) is None


def test_interrupted_writes_are_removed_and_no_artefacts(tmp_path: Path) -> None:
    with Run(tmp_path / "run") as run:
        with pytest.raises(KeyboardInterrupt):
            run.step("step", {}, Work(fails=True))
        half = tmp_path / "run" / "step" / ".checkpoint.4x7c"  # as ``write_bytes`` leaves it when killed
        half.write_bytes(b"half")
        run.step("step", {}, Work())
        assert not half.exists()
        assert run.finished("step", {}) is not None


def test_a_damaged_step_is_not_finished_while_it_is_done_again(tmp_path: Path) -> None:
    def work(folder: Path) -> dict[str, Any]:
        result = Work()(folder)
        assert run.finished("step", {}) is None  # though the damaged file is whole again
        return result

    with Run(tmp_path / "run") as run:
        run.step("step", {}, Work())
        (tmp_path / "run" / "step" / "sub" / "out.txt").unlink()
        run.step("step", {}, work)


def _flip(path: Path, byte: int, bit: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[byte] ^= 1 << bit
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [_truncate, lambda path: _flip(path, 1), lambda path: path.write_text("other")])
@pytest.mark.parametrize("name", ["sub/out.txt", "started.json"])
def test_what_changed_is_refused_with_the_remedy_and_the_remedy_helps(
    tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    folder = tmp_path / "run"
    with Run(folder) as run:
        run.step("a/step", {"x": 1}, Work())
    damage(folder / "a" / "step" / name)
    refused = rf"{name} changed .*delete the step step \(.*a/step\)"
    for _ in range(2):
        with Run(folder) as run, pytest.raises(UsageError, match=refused):
            run.step("a/step", {"x": 1}, Work())
    shutil.rmtree(folder / "a" / "step")
    with Run(folder) as run:
        assert not run.step("a/step", {"x": 1}, Work()).skipped


def test_no_bit_of_a_record_may_change(tmp_path: Path) -> None:
    """A flipped bit is refused, or makes a record that is none, whose step is done again: never another result."""
    record = tmp_path / "run" / "step" / "step.json"
    with Run(tmp_path / "run") as run:
        run.step("step", {"x": 1}, Work())
    whole = record.read_bytes()
    for byte in range(len(whole)):
        _flip(record, byte, bit=byte % 7)
        with Run(tmp_path / "run") as run, contextlib.suppress(UsageError):
            found = run.finished("step", {"x": 1})
            assert found is None or json.loads(record.read_text()) == json.loads(whole), byte  # white space
        record.write_bytes(whole)


def test_a_change_while_the_run_is_open_is_seen(tmp_path: Path) -> None:
    out = tmp_path / "run" / "step" / "sub" / "out.txt"
    with Run(tmp_path / "run") as run:
        run.step("step", {}, Work())
        assert run.check() == []
        times = out.stat()
        _flip(out, 0)
        os.utime(out, ns=(times.st_atime_ns, times.st_mtime_ns))  # as a failing disk changes it
        with pytest.raises(UsageError, match=r"out\.txt changed"):
            run.check()


def test_records_of_older_versions_are_read_and_said_to_be_unchecked(tmp_path: Path) -> None:
    record = tmp_path / "run" / "step" / "step.json"
    with Run(tmp_path / "run") as run:
        run.step("step", {}, Work())
        run.step("new", {}, Work())
    old = {key: value for key, value in json.loads(record.read_text()).items() if "sha256" not in key}
    record.write_text(json.dumps(old))
    with Run(tmp_path / "run") as run:
        found = run.finished("step", {})
        assert found is not None
        assert found.result == {"text": "result"}
        run.finished("new", {})
        assert run.check() == ["step"]
        _truncate(record.parent / "sub" / "out.txt")
        assert run.finished("step", {}) is None  # its size is all that such a record knows


@pytest.mark.parametrize("name", [".run.json.abcd1234", ".config.yaml._x9_0000", ".files.json.zzzzzzzz"])
def test_what_a_killed_write_left_in_a_new_folder_is_no_foreign_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"half")
    (tmp_path / ".lock").touch()
    with Run(tmp_path) as run:
        run.claim({"seed": 0})
    assert (tmp_path / "run.json").exists()


@pytest.mark.parametrize("name", [".photo.png.abcd1234", ".run.json.abcd123", "run.json.abcd1234", ".ssh"])
def test_other_hidden_files_are_foreign(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"mine")
    with Run(tmp_path) as run, pytest.raises(UsageError, match="holds other files"):
        run.claim({"seed": 0})
    assert (tmp_path / name).read_bytes() == b"mine"


@pytest.mark.parametrize("text", ["[]", "{}", '{"identity": 3}', "\udcff", "["])
def test_a_damaged_run_record_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_bytes(text.encode(errors="surrogateescape"))
    with Run(tmp_path) as run, pytest.raises(UsageError, match=r"run\.json"):
        run.claim({"seed": 0})


def test_record_can_be_read_without_us(tmp_path: Path) -> None:
    with Run(tmp_path / "run") as run:
        run.step("step", {"x": 1}, Work())
    record = json.loads((tmp_path / "run" / "step" / "step.json").read_text())
    assert (record["schema"], record["name"], record["inputs"]) == (1, "step", {"x": 1})
    assert record["files"]["sub/out.txt"] == len("result")


def test_key_depends_on_values_not_on_order() -> None:
    assert key_of({"a": 1, "b": [2, 3]}) == key_of({"b": [2, 3], "a": 1}) != key_of({"a": 1, "b": [3, 2]})
    with pytest.raises(ValueError):
        key_of({"a": float("nan")})
