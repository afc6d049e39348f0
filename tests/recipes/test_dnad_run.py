"""Whole tiny DNAD runs: what they leave, another budget, other methods, and a run without a teacher."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_dnad_run import dnad_settings

from distilnas.costing import profile
from distilnas.files import read_json
from distilnas.methods.dnad import Archive
from distilnas.networks import DartsNet, load_student
from distilnas.recipes.dnad.choice import FoundNetwork, choose
from distilnas.recipes.dnad.recipe import DNAD
from distilnas.solve import Limit
from distilnas.space.darts import DartsArchitecture, parse_architecture


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dnad")
    DNAD.run(dnad_settings(folder), folder / "run")
    return folder / "run"


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def networks(run: Path) -> list[dict[str, Any]]:
    return read_json(run / "search" / "networks.json")


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
    # nodes of 2 ops on 2, 3, 4 and 5 states keep any non-empty set of candidates, in each of 3 cells
    assert summary["space"]["num_architectures"] == (15 * 63 * 255 * 1023) ** 3
    assert summary["rating"]["num_images"] == 12
    assert set(summary["seconds"]) >= {"data", "teacher", "search", "solve", "retrain", "evaluate", "export"}
    for path in summary["artefacts"].values():
        assert (finished / path).is_file()


def test_networks_shrink_and_count_what_they_cost(finished: Path):
    found = networks(finished)
    macs = [network["macs"] for network in found]
    assert macs == sorted(macs, reverse=True)
    assert macs[-1] < macs[0]
    for network in found:
        counts = profile(DartsNet(DartsArchitecture.parse(network["architecture"]), num_classes=3), 16)
        assert (network["params"], network["macs"]) == (counts.params, counts.macs)
    archive = Archive.load(finished / "search" / "archive.json")
    assert [snapshot.step for snapshot in archive.front()] == [n["step"] for n in reversed(found) if n["front"]]


def test_the_student_is_the_chosen_network(finished: Path):
    summary = read_json(finished / "summary.json")
    student = load_student((finished / summary["artefacts"]["weights"]).parent)
    chosen = parse_architecture((finished / "solve" / "architecture.json").read_text())
    assert student.architecture == chosen
    best = max(network["accuracy"] for network in networks(finished))
    assert summary["solution"]["rating"] == 100 - best
    assert torch.isfinite(student(torch.rand(2, 3, 16, 16))).all()


def test_report_shows_search_and_cells(finished: Path):
    page = (finished / "report.html").read_text()
    for part in ("figure-shrinking", "figure-pressure", "figure-losses", "figure-archive", "cell 3"):
        assert part in page, part


def test_second_call_does_nothing_and_another_budget_solves_and_retrains_only(run: Path, tmp_path: Path):
    before = {p: p.stat().st_mtime_ns for p in run.rglob("step.json")}
    assert DNAD.run(dnad_settings(tmp_path), run) == read_json(run / "summary.json")
    assert before == {p: p.stat().st_mtime_ns for p in run.rglob("step.json")}
    most = min(network["macs"] for network in networks(run))
    other = DNAD.run(dnad_settings(tmp_path, f"solve.max_macs={most}"), run)
    assert other["student"]["macs"] == most
    redone = {p.parent.name for p in run.rglob("step.json") if before.get(p) != p.stat().st_mtime_ns}
    assert redone <= {"solve", "retrain", "evaluate", "export"}


def test_without_a_teacher(tmp_path: Path):
    """SNPS: no teacher step, and the imitation loss is 0."""
    summary = DNAD.run(dnad_settings(tmp_path, "teacher=null"), tmp_path / "run")
    assert summary["teacher"] is None
    assert not (tmp_path / "run" / "teacher").exists()
    history = json.loads((tmp_path / "run" / "search" / "history.json").read_text())
    assert all(epoch["imitation"] == 0 for epoch in history["epochs"])


@pytest.mark.parametrize(("shared", "cells"), [("true", 4), ("false", 3)])
def test_darts_in_the_same_harness(tmp_path: Path, shared: str, cells: int):
    """Shared cells are derived at any depth; (2 ops)^8 pairs of inputs 1, 3, 6 and 10 a cell."""
    overrides = ("search.method=bilevel", f"search.bilevel.shared={shared}", "space.primitives=p2")
    settings = dnad_settings(tmp_path, *overrides)
    found = DNAD.run(settings, tmp_path / "run", until="solve")
    architecture = DartsArchitecture.parse(found["architecture"])
    assert (architecture.width, architecture.num_cells) == (4, cells)
    step = read_json(tmp_path / "run" / "search" / "step.json")["result"]
    assert int(step["num_genotypes"]) == (180 * 2**8) ** (2 if shared == "true" else 3)
    assert not (tmp_path / "run" / "teacher").exists()


def _network(macs: int, accuracy: float) -> FoundNetwork:
    return FoundNetwork(
        architecture="", params=macs // 10, macs=macs, step=macs, reason="event", accuracy=accuracy, front=True
    )


def test_choice_is_the_most_accurate_within_the_limits_and_of_equals_the_smallest():
    found = [_network(100, 90.0), _network(200, 95.0), _network(300, 95.0), _network(400, 97.0)]
    assert choose(found, ()).macs == 400
    assert choose(found, (Limit(cost="macs", max=399),)).macs == 200
    assert choose(found, (Limit(cost="params", max=15),)).macs == 100
    assert choose(found, (Limit(cost="macs", min=250, max=399),)).macs == 300
