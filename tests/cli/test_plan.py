"""``distilnas plan``: one record or a table; nothing written; refusals as short messages."""

import json
from pathlib import Path

import pytest
from cli_call import Cli

QUICK = ("--seconds", "1")


def test_one_record(cli: Cli, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    answer = cli("plan", config, "retrain.epochs=2", *QUICK, "--json")
    record = json.loads(answer.out)
    assert answer.code == 0
    assert sorted(tmp_path.rglob("*")) == before
    assert {"device", "devices", "images", "steps", "total_hours", "probe", "assumptions", "advice"} <= record.keys()
    assert (record["recipe"], record["device"], record["devices"]) == ("dna", "cpu", 1)
    assert record["images"] == {"train": 74, "validation": 6, "rating": 16, "test": 24, "classes": 3, "from": "data"}
    for name in ("teacher", "distill", "rate", "retrain"):
        row, probe = record["steps"][name], record["probe"][name]
        assert row["seconds"] > 0
        assert row["disk_mb"] > 0
        assert row["memory_mb"] is None or row["memory_mb"] > 50
        assert probe["steps"] >= 3
        assert probe["batch"] <= probe["configured_batch"]
    assert record["total_seconds"] == pytest.approx(sum(r["seconds"] or 0 for r in record["steps"].values()), abs=0.1)


def test_table(cli: Cli, config: Path):
    answer = cli("plan", config, *QUICK, "--devices", "4")
    assert answer.code == 0
    for words in (
        "distill",
        "in all",
        "projected",
        "4 devices are a projection",
        "90%",
        "74 train",
        "not known before",
    ):
        assert words in " ".join(answer.out.split()), words
    assert "probing distill" in answer.err


def test_a_given_student_is_taken(cli: Cli, config: Path, tmp_path: Path):
    """The smallest network of the fitted space's form; any architecture would do."""
    text = "stem 8/2 relu | 8/2 mb_k3_e2_relu | 16/2 mb_k5_e2_relu | head 16 relu"
    (tmp_path / "a.txt").write_text(text)
    record = json.loads(cli("plan", config, *QUICK, "--architecture", tmp_path / "a.txt", "--json").out)
    assert "the architecture given" in record["assumptions"][0]
    assert cli("plan", config, *QUICK, "--architecture", tmp_path / "none").code == 2


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("solve.max_macs=10",), 3, "smallest reachable macs"),
        (("sed=1",), 2, "seed"),
        (("data.path=nowhere",), 2, "--images N"),
        (("data.path=nowhere", "--images", "10"), 2, "must leave one image for each class"),
        (("--images", "10"), 2, "leave them out"),
        (("--devices", "0"), 2, "devices must be at least 1"),
    ],
)
def test_refusals(words: tuple[str, ...], code: int, message: str, cli: Cli, config: Path):
    answer = cli("plan", config, *words, *QUICK, "--json")
    assert answer.error["code"] == code
    assert message in " ".join(answer.err.split())


def test_images_that_are_not_here(cli: Cli, config: Path):
    answer = cli("plan", config, "data.path=photos", "--images", "1000", "--classes", "7", *QUICK, "--json")
    images = json.loads(answer.out)["images"]
    assert images == {"train": 778, "validation": 6, "rating": 16, "test": 200, "classes": 7, "from": "--images"}
