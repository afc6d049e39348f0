"""A limit on peak memory in the recipe ``shrink``: alone, with others, and one that nothing keeps."""

import json
from pathlib import Path

import pytest
from tiny_run import write_images
from tiny_shrink import tiny_shrink

from distilnas.costing.memory import peak_bytes
from distilnas.errors import InfeasibleError, UsageError
from distilnas.networks import load_student
from distilnas.recipes.catalogue import run_recipe

FEW = ("choice.curve=0", "recovery.epochs=0.1")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("memory-data") / "images")


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("memory")
    run_recipe(
        tiny_shrink(folder, photos, "budgets=[{peak_memory: 75%}, {peak_memory: 90%, macs: 50%}]", *FEW), folder / "run"
    )
    return folder / "run"


def test_students_are_inside_and_their_peaks_are_those_of_the_saved_networks(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    memory, both = summary["students"]
    teacher = summary["teacher"]
    assert memory["peak_memory"] <= 0.75 * teacher["peak_memory"]
    assert both["peak_memory"] <= 0.9 * teacher["peak_memory"]
    assert both["macs"] <= 0.5 * teacher["macs"]
    for student in (memory, both):
        network = load_student(run / Path(student["artefacts"]["weights"]).parent)
        assert student["peak_memory"] == peak_bytes(network, (3, student["resolution"], student["resolution"]))
    assert "peak memory" in (run / "report.html").read_text().lower()


@pytest.mark.parametrize(
    ("budget", "error", "message"),
    [
        ("{peak_memory: 1%}", InfeasibleError, "No student of this library keeps peak_memory"),
        ("{peak_memory: 1..2M}", UsageError, "limited from above alone"),
    ],
)
def test_what_no_student_keeps_is_told(run: Path, photos: Path, tmp_path: Path, budget, error, message) -> None:
    with pytest.raises(error, match=message):
        run_recipe(tiny_shrink(tmp_path, photos, f"budgets=[{budget}]", *FEW), run)
