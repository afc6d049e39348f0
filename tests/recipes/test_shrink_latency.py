"""A limit on latency in the recipe ``shrink``, on a device of the test's own: a file takes as long as it is large."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_run import write_images
from tiny_shrink import tiny_shrink

from distilnas.errors import InfeasibleError, UsageError
from distilnas.latency import LatencySettings, make_piece
from distilnas.networks import load_student
from distilnas.recipes.catalogue import run_recipe

FEW = ("choice.curve=0", "recovery.epochs=0.1", "export.int8=true")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("latency-data") / "images")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    def run(folder: Path, settings: LatencySettings) -> dict:
        rows = json.loads((folder / "list.json").read_text())["rows"]
        times = [[[(folder / piece["file"]).stat().st_size / 1e4] * 5 for piece in row] for row in rows]
        told = {"version": "1", "processor": "a scale", "waited": 0.0, "clock": "processor"}
        return told | {"calibration_ms": [1.0, 1.0], "rows": times}

    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("distilnas.latency.measuring._run", run)
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("latency")
    run_recipe(tiny_shrink(folder, photos, "budgets=[{latency_ms: 60%, macs: 50%}]", *FEW), folder / "run")
    return folder / "run"


def test_the_student_is_inside_all_limits(run: Path, cache: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    teacher, student, timed = summary["teacher"], summary["student"], summary["latency"]
    assert (timed["runtime"], timed["device"], timed["threads"], timed["batch"]) == ("onnxruntime", "cpu", 1, 1)
    assert timed["limit_ms"] == pytest.approx(0.6 * teacher["latency_ms"])
    assert student["latency_ms"] <= timed["limit_ms"]
    assert student["macs"] <= 0.5 * teacher["macs"]
    network = load_student(run / Path(student["artefacts"]["weights"]).parent)
    size = len(make_piece("student", network, (3, 32, 32), LatencySettings()).data) / 1e4
    assert student["latency_ms"] == pytest.approx(size, rel=0.05)  # names of layers are in the file too
    assert student["latency"]["estimate_ms"] == pytest.approx(student["latency_ms"], rel=0.1)
    assert len(list(cache.rglob("*.json"))) == 1
    report = (run / "report.html").read_text()
    assert "Measured latency against the estimate" in report
    assert "a scale" in report


def test_the_smaller_file_is_held_against_the_other(run: Path) -> None:
    student = json.loads((run / "summary.json").read_text())["student"]
    held, folder = student["onnx"]["int8"], (run / student["artefacts"]["onnx"]).parent
    sizes = [(folder / name).stat().st_size for name in ("model.onnx", held["file"])]
    assert held["ratio"][0] == pytest.approx(sizes[1] / sizes[0])
    faster, lost = sizes[1] < sizes[0], held["float32_top1"] - held["top1"]
    assert held["ship"] == ("int8" if faster and lost <= 1 else "float32")


def test_what_cannot_be_met_is_told(run: Path, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(InfeasibleError, match="smallest that was measured"):
        run_recipe(tiny_shrink(tmp_path, photos, "budgets=[{latency_ms: 1%}]", *FEW), run)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("budgets=[{latency_ms: 1ms..2ms}]", "from above alone"),
        ("budgets=[{latency_ms: 5 s}]", "not an amount"),
        ("latency.threads=0", "from 1"),
        ("latency.runtime=tflite", "onnxruntime"),
    ],
)
def test_what_is_refused(photos: Path, tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        run_recipe(tiny_shrink(tmp_path, photos, override), tmp_path / "run")
    assert not (tmp_path / "run" / "run.json").exists()
