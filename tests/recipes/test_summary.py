"""Whole tiny runs: what they leave, what a second call does, what another budget does, and the seed."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from tiny_run import CLASSES, arrays, tiny_settings, write_images

from distilnas.errors import InfeasibleError, UsageError
from distilnas.files import read_json
from distilnas.recipes.catalogue import load_settings
from distilnas.recipes.dna.recipe import run_dna
from distilnas.runtime.store import Run


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def mtimes(run: Path) -> dict[str, int]:
    return {str(p.relative_to(run)): p.stat().st_mtime_ns for p in run.rglob("*") if p.is_file() and p.name != ".lock"}


def changed(before: dict[str, int], after: dict[str, int]) -> set[str]:
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def test_summary_has_the_promised_entries(finished: Path):
    summary = read_json(finished / "summary.json")
    promised = {
        "teacher": {"name", "top1", "params", "macs"},
        "space": {"num_architectures"},
        "rating": {"num_candidates", "num_rated", "num_images"},
        "solution": {"rating", "macs", "params", "optimal", "budgets"},
        "student": {"top1", "params", "macs"},
        "artefacts": {"architecture", "weights", "onnx", "report"},
        "provenance": {"distilnas", "packages", "seed", "config_hash", "device"},
    }
    for part, keys in promised.items():
        assert keys <= summary[part].keys(), part
    # three blocks with 1 cell width and one with 2; each width has depth 1 (2 paths) and depth 2 (4 paths)
    assert summary["space"]["num_architectures"] == 6**3 * 12
    assert summary["rating"]["num_candidates"] == summary["rating"]["num_rated"] == 3 * 6 + 12
    assert summary["rating"]["num_images"] == 16
    assert set(summary["seconds"]) >= {"teacher", "distill", "rate", "solve", "retrain"}
    assert all(seconds >= 0 for seconds in summary["seconds"].values())


def test_artefacts_are_relative_and_exist(finished: Path):
    for path in read_json(finished / "summary.json")["artefacts"].values():
        assert not Path(path).is_absolute()
        assert (finished / path).is_file()


def test_student_is_the_proved_solution_within_the_budget(finished: Path):
    summary = read_json(finished / "summary.json")
    solution, student = summary["solution"], summary["student"]
    assert solution["optimal"]
    assert solution["budgets"]["macs"]["max"] == int(0.8 * summary["teacher"]["macs"])
    assert (student["macs"], student["params"]) == (solution["macs"], solution["params"])  # built as it was costed
    assert student["macs"] <= solution["budgets"]["macs"]["max"]


def test_images_are_split_without_overlap(finished: Path):
    data = read_json(finished / "data" / "step.json")["result"]
    assert data["classes"] == list(CLASSES)
    assert data["counts"] == {"train": 120 - 24 - 6 - 16, "validation": 6, "rating": 16, "test": 24}


def test_second_call_does_nothing(run: Path, images: Path, tmp_path: Path):
    before, summary = mtimes(run), read_json(run / "summary.json")
    assert run_dna(tiny_settings(tmp_path, images), run) == summary
    assert changed(before, mtimes(run)) <= {"config.yaml", "summary.json"}


def test_other_budget_solves_and_retrains_only_and_the_first_comes_back_for_nothing(
    run: Path, images: Path, tmp_path: Path
):
    first, before = read_json(run / "summary.json"), mtimes(run)
    other = run_dna(tiny_settings(tmp_path, images, f"solve.min_macs={first['student']['macs'] + 1}"), run)
    assert other["student"]["macs"] > first["student"]["macs"]
    assert other["student"]["hash"] != first["student"]["hash"]
    redone = {name.split("/")[0] for name in changed(before, mtimes(run))}
    assert redone == {"solve", "additivity", "students", "summary.json", "config.yaml", "report.html", "files.json"}

    between = mtimes(run)
    again = run_dna(tiny_settings(tmp_path, images), run)
    assert again["student"] == first["student"]
    assert not any(name.startswith("students/") for name in changed(between, mtimes(run)))


def test_a_teacher_in_retraining_repeats_that_alone(run: Path, images: Path, tmp_path: Path):
    """The settings of a run that does without do not have the word: runs of earlier versions keep their keys."""
    assert "teacher" not in yaml.safe_load((run / "config.yaml").read_text())["retrain"]
    before = mtimes(run)
    weights = (run / read_json(run / "summary.json")["artefacts"]["weights"]).read_bytes()
    summary = run_dna(tiny_settings(tmp_path, images, "retrain.teacher=true"), run)
    redone = {name.split("/")[0] for name in changed(before, mtimes(run))}
    assert redone == {"students", "summary.json", "config.yaml", "report.html", "files.json"}
    assert (run / summary["artefacts"]["weights"]).read_bytes() != weights
    assert yaml.safe_load((run / "config.yaml").read_text())["retrain"]["teacher"] is True


def test_infeasible_budget_leaves_the_run_as_it_was(run: Path, images: Path, tmp_path: Path):
    before = mtimes(run)
    with pytest.raises(InfeasibleError, match="smallest reachable macs is"):
        run_dna(tiny_settings(tmp_path, images, "solve.max_macs=1000"), run)
    assert not changed(before, mtimes(run))


@pytest.mark.parametrize(
    "override",
    [
        "data.path=missing",
        "teacher.partition=[layer1,layre2]",
        "solve.max_macs=1",
        "data.resolution=4",
        "data.validation=900",
    ],
)
def test_new_run_is_checked_before_anything_is_written(images: Path, tmp_path: Path, override: str):
    with pytest.raises((UsageError, InfeasibleError)):
        run_dna(tiny_settings(tmp_path, images, override), tmp_path / "run")
    assert not mtimes(tmp_path / "run")


def test_seed_decides_the_ratings(images: Path, tmp_path: Path):
    tables = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run_dna(tiny_settings(tmp_path, images, f"seed={seed}"), tmp_path / name, until="rate")
        tables.append(arrays(tmp_path / name / "rate" / "ratings.npz"))
    first, same, other = tables
    means = [name for name in first if name.endswith("/mean") and first[name].any()]  # the head is rated 0
    assert means
    assert all(np.array_equal(first[name], same[name]) for name in first if name != "meta")
    assert not any(np.array_equal(first[name], other[name]) for name in means)


def test_random_networks_keep_the_budget(run: Path, images: Path, tmp_path: Path):
    summary = run_dna(tiny_settings(tmp_path, images, "random.number=2", "random.min_share=0.5"), run)
    assert len({row["hash"] for row in summary["random"]}) == 2
    limit = summary["solution"]["budgets"]["macs"]["max"]
    assert all(0.5 * summary["solution"]["macs"] <= row["macs"] <= limit for row in summary["random"])


def test_stored_configuration_repeats_the_run(finished: Path, images: Path, tmp_path: Path):
    settings = load_settings(str(finished / "config.yaml"))
    assert settings == tiny_settings(tmp_path, images)
    assert settings.to_dict() == yaml.safe_load((finished / "config.yaml").read_text())


def test_corrupt_images_are_skipped_and_recorded(images: Path, tmp_path: Path):
    photos = Path(shutil.copytree(images, tmp_path / "photos"))
    (photos / "red" / "007.png").write_bytes(b"no image")
    record = run_dna(tiny_settings(tmp_path, photos), tmp_path / "run", until="cost")
    data = read_json(tmp_path / "run" / "data" / "step.json")["result"]
    assert record["costs"] == ["macs", "params", "bytes"]
    assert data["skipped"] == ["red/007.png"]
    assert sum(data["counts"].values()) == 119


def test_changed_images_are_noticed(run: Path, tmp_path: Path):
    photos = write_images(tmp_path / "photos", number=40, side=32)
    settings = tiny_settings(tmp_path, photos)
    run_dna(settings, tmp_path / "new", until="cost")
    (photos / "red" / "000.png").unlink()
    with pytest.raises(UsageError, match="the images changed"):
        run_dna(settings, tmp_path / "new", until="distill")


def test_one_process_at_a_time(run: Path, images: Path, tmp_path: Path):
    with Run(run), pytest.raises(UsageError, match="another process"):
        run_dna(tiny_settings(tmp_path, images), run)


def test_summary_is_plain_json(finished: Path):
    text = (finished / "summary.json").read_text()
    assert json.loads(text)["provenance"]["seed"] == 0
    assert "NaN" not in text
