"""Files appear complete or not at all."""

import errno
import os
import stat

import pytest

from distilnas import files
from distilnas.errors import UsageError


def test_written_and_read_back(tmp_path):
    path = tmp_path / "new" / "folder" / "a.json"
    files.write_json(path, {"name": "größe", "numbers": [1, 2.5]})
    assert files.read_json(path) == {"name": "größe", "numbers": [1, 2.5]}
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    files.write_json(path, 3)
    assert files.read_json(path) == 3
    assert os.listdir(path.parent) == ["a.json"]


@pytest.mark.parametrize("function", ["fsync", "replace", "chmod"])
@pytest.mark.parametrize(
    ("error", "raised", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), UsageError, "no space left to write .*a.txt .*same command"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), UsageError, "no space left"),
        (PermissionError(errno.EACCES, "Permission denied"), UsageError, "cannot write .*: Permission denied"),
        (KeyboardInterrupt("stop"), KeyboardInterrupt, "stop"),
    ],
)
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, function, error, raised, message):
    path = tmp_path / "a.txt"
    files.write_text(path, "old")

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(os, function, fail)
    with pytest.raises(raised, match=message):
        files.write_text(path, "new")
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="cannot write"):
        files.write_text(tmp_path / "file" / "a.txt", "x")


def test_json_holds_no_nan(tmp_path):
    with pytest.raises(ValueError):
        files.write_json(tmp_path / "a.json", float("nan"))
    assert not os.listdir(tmp_path)


def test_damaged_json_is_refused(tmp_path):
    (tmp_path / "a.json").write_text('{"a": 1')
    for name in ("a.json", "missing.json"):
        with pytest.raises(UsageError, match=f"cannot read .*{name}"):
            files.read_json(tmp_path / name)
