"""``config validate`` as a new user meets it: names, paths, amounts, spaces; odd files; ``profile --latency``."""

import json
from pathlib import Path

import pytest
from cli_call import Cli

from distilnas.cli.profile import _line


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("solve.max_macs=40MB", "not an amount: '40MB'"),
        ("teacher.model=mobilenet_v2", "did you mean"),
        ("teacher.model_kwargs={channels: 3}", "cannot be built"),
        ("data.path=/nowhere/photos", "data.path must exist"),
        ("space={fitted: null, preset: dnaa}", "did you mean 'dna'"),
        ("runtime.workers=100000", "runtime.workers"),
        ("retrain.optim.lr=nan", "a finite number"),
        ("export.opset=99", "export.opset must be from 13 to 21"),
    ],
)
def test_what_leads_nowhere(cli: Cli, config: Path, override: str, message: str):
    answer = cli("config", "validate", config, override)
    assert answer.code == 2
    assert message in answer.err
    assert "Traceback" not in answer.err


def test_missing_weights_and_students(cli: Cli, config: Path, tmp_path: Path):
    assert "must be a file" in cli("config", "validate", config, f"teacher.weights={tmp_path}/w.pth").err
    text = config.read_text().replace("model: resnet10t", f"student: {tmp_path}/none")
    config.write_text(text.replace("  model_kwargs:\n    channels:\n    - 8\n    - 16\n    - 16\n    - 32\n", ""))
    assert "is no student's folder" in cli("config", "validate", config).err


def test_valid_ones(cli: Cli, config: Path, photos: Path):
    assert cli("config", "validate", config).code == 0
    assert cli("config", "validate", "quickstart", "--json").out == '{\n  "valid": true\n}\n'
    assert sorted(p.name for p in photos.iterdir()) == ["blue", "green", "red"]


def test_odd_files_are_no_architectures(cli: Cli, tmp_path: Path):
    for content in (b"\xff", b"[", b'{"schema": 1, "stem": "x", "blocks": [], "head": {}}', b"\xff\xfea\x00", b""):
        (tmp_path / "a.json").write_bytes(content)
        answer = cli("profile", tmp_path / "a.json")
        assert answer.code == 2, content
        assert answer.err.count("\n") == 1


def test_latency_says_how_sure_it_is(cli: Cli):
    asked = ("profile", "resnet10t", "--resolution", "32", "--latency", "--seconds", "0.3")
    record = json.loads(cli(*asked, "--json").out)
    low, high = record["latency_interval_ms"]
    assert low <= record["latency_ms"] <= high
    assert all(float(f"{ms:.2g}") == ms for ms in (low, high, record["latency_ms"]))
    assert record["latency_runtime"].startswith("onnxruntime 1.")
    assert (record["latency_threads"], record["latency_batch"]) == (1, 1)
    assert _line("latency_interval_ms", [low, high]).endswith("(95 %)")
