"""Uploading a student: to a local server that speaks the hub's protocol, and without sending."""

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from distilnas.errors import DistilnasError, UsageError
from distilnas.export import hub
from distilnas.export.card import card_paths, write_cards
from distilnas.export.hub import prepare, push

CONFIG = {
    "schema": 2,
    "parent": {"model": "mobilenetv2_100"},
    "blocks": [],
    "head": {},
    "architecture_hash": "ab",
    "num_classes": 2,
    "in_chans": 3,
    "classes": ["ok", "defect"],
    "preprocessing": {"resolution": 64, "mean": [0.5] * 3, "std": [0.5] * 3, "crop_pct": 1.0},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An exported student in a run with a summary."""
    export = tmp_path / "run" / "students" / "macs-40pct" / "export"
    export.mkdir(parents=True)
    (export / "student.json").write_text(json.dumps(CONFIG))
    (export / "model.safetensors").write_bytes(b"weights")
    (export / "model.onnx").write_bytes(b"graph")
    student = {"top1": 81.5, "macs": 9_290_144, "params": 417_034, "bytes": 1_712_712}
    student["artefacts"] = {"weights": "students/macs-40pct/export/model.safetensors"}  # type: ignore[assignment]
    summary = {"teacher": {"name": "mobilenetv2_100", "top1": 81.0, "macs": 24_451_072}, "students": [student]}
    write_cards(tmp_path / "run", summary)
    assert card_paths(tmp_path / "run", summary) == ["students/macs-40pct/export/README.md"]
    return export


class Hub(BaseHTTPRequestHandler):
    """The part of the hub's protocol that an upload of small files needs."""

    received: dict[str, bytes]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Authorization") != "Bearer hf_test":
            self._send(401, {"error": "Invalid credentials"})
        elif self.path == "/api/repos/create":
            name = json.loads(body)["name"]
            self._send(200, {"url": f"http://{self.headers['Host']}/me/{name}", "name": f"me/{name}"})
        elif self.path == "/api/validate-yaml":
            self._send(200, {"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            asked = json.loads(body)["files"]
            told = [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in asked]
            self._send(200, {"files": told})
        elif "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.received[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            told = {"commitUrl": f"http://{self.headers['Host']}/me/cells/commit/1", "commitOid": "1", "success": True}
            self._send(200, told)
        else:
            self._send(404, {"error": self.path})

    def _send(self, code: int, answer: Any) -> None:
        data = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    Hub.received = {}
    found = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield found
    found.shutdown()


def address(server: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_port}"


def test_all_files_arrive(folder: Path, server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    upload = prepare(folder, "me/cells")
    url = push(upload, endpoint=address(server))
    assert url.endswith("/me/cells")
    assert Hub.received == {
        "model.safetensors": b"weights",
        "student.json": (folder / "student.json").read_bytes(),
        "model.onnx": b"graph",
        "README.md": upload.card.encode(),
    }


def test_what_the_hub_refuses_is_one_line(
    folder: Path, server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    with pytest.raises(DistilnasError, match=r"me/cells could not be uploaded: .*hf auth login"):
        push(prepare(folder, "me/cells"), endpoint=address(server))


def test_the_card_has_what_was_measured(folder: Path) -> None:
    card = prepare(folder, "me/cells").card
    _, head, text = card.split("---\n", 2)
    assert yaml.safe_load(head)["pipeline_tag"] == "image-classification"
    assert "| student | 81.50 % | 9,290,144 | 417,034 | 1,712,712 |" in text
    assert "parent: mobilenetv2_100" in text
    assert "ok, defect" in text


def test_a_student_without_a_page(folder: Path) -> None:
    (folder / "README.md").unlink()
    card = prepare(folder, "me/cells").card
    assert "# cells\n" in card
    assert "## Measured" not in card


@pytest.mark.parametrize(("name", "repo", "message"), [("", "a/b/c", "OWNER/NAME"), ("nowhere", "me/x", "cannot read")])
def test_refused(folder: Path, name: str, repo: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        prepare(folder / name, repo)


def test_a_folder_without_weights(folder: Path) -> None:
    (folder / hub.WEIGHTS).unlink()
    with pytest.raises(UsageError, match=r"has no model\.safetensors"):
        prepare(folder, "me/x")
