"""A space of several kinds of layer on a folder of images, from the command's settings to the exported student."""

import json
from pathlib import Path

from tiny_run import tiny_settings

from distilnas.networks import load_student
from distilnas.recipes.dna.recipe import run_dna
from distilnas.space import Architecture, SearchSpace


def test_kinds_are_searched_together(images: Path, tmp_path: Path):
    settings = tiny_settings(
        tmp_path, images, "space.fitted.kinds=[mb,res,convnext]", "space.fitted.depths=[1]", "distill.epochs=1"
    )
    summary = run_dna(settings, tmp_path / "run")
    space = SearchSpace.from_dict(json.loads((tmp_path / "run" / "space" / "space.json").read_text()))
    offered = {op.kind for block in space.body for cell in block.cells for op in cell.layers[0]}
    assert offered == {"mb", "res", "convnext"}
    assert summary["rating"]["num_rated"] == space.num_candidates
    student = load_student(tmp_path / "run" / "students" / summary["student"]["hash"] / "export")
    assert student.architecture == Architecture.parse(summary["student"]["architecture"])
    assert space.contains(student.architecture)
    assert (tmp_path / "run" / "report.html").exists()


def test_the_usual_kind_is_not_recorded(images: Path, tmp_path: Path):
    """Runs of versions without this setting keep their keys."""
    usual = tiny_settings(tmp_path, images).to_dict()["space"]["fitted"]
    assert "kinds" not in usual
    other = tiny_settings(tmp_path, images, "space.fitted.kinds=[res]").to_dict()["space"]["fitted"]
    assert other == usual | {"kinds": ["res"]}
