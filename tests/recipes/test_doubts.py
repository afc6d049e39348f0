"""What is doubted: teachers at the majority's level, spaces of one, unused budgets, choices that measure badly."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
from tiny_run import tiny_settings

from distilnas.cli.run import show
from distilnas.files import read_json
from distilnas.methods.dna import hold
from distilnas.recipes import doubts
from distilnas.recipes.dna import steps as dna_steps
from distilnas.recipes.dna.recipe import run_dna
from distilnas.records.solution import Additivity, Held
from distilnas.report import write_report
from distilnas.runtime.progress import SilentProgress


def measured(*values: float) -> Additivity:
    return Additivity(predicted=values, measured=values, kendall_tau=None, spearman_rho=None)


@pytest.mark.parametrize(
    ("values", "networks", "better", "contradicted"),
    [
        ((0.83, *[0.69 + 0.004 * n for n in range(30)]), 30, 30, True),  # the worst of 31
        ((0.5, 0.4, 0.4, 0.4, 0.6, 0.6, 0.6), 6, 3, True),
        ((0.5, 0.4, 0.4, 0.6, 0.6, 0.6, 0.6), 6, 2, False),
        ((0.5, 0.5, 0.5, 0.5, 0.5, 0.5), 5, 0, False),  # ties are not better
        ((0.5, 0.1, 0.1, 0.1, 0.1), 4, 4, False),  # too few to tell
    ],
)
def test_a_choice_is_contradicted_by_half_of_enough_others(
    values: tuple[float, ...], networks: int, better: int, contradicted: bool
):
    held = hold(measured(*values), range(1, len(values)))
    assert held == Held(networks=networks, better=better, contradicted=contradicted)


def test_only_networks_under_the_budget_count():
    assert hold(measured(0.5, 0.1, 0.9, 0.1), [2]) == Held(networks=1, better=0, contradicted=False)


@pytest.mark.parametrize(
    ("top1", "images", "doubted"),
    [
        (67.81, 320, True),  # the very share of the majority
        (70.0, 320, True),  # within two standard errors, 2 x 2.6 points
        (74.0, 320, False),
        (70.0, 100_000, False),
        (30.0, 320, True),
    ],
)
def test_the_majority_level(top1: float, images: int, doubted: bool):
    found = doubts.of_student({"top1": top1, "majority": 67.81, "images": images})
    assert bool(found) is doubted
    if doubted:
        assert "at the majority's level" in found[0]
        assert "67.81 %" in found[0]


def test_a_test_that_did_not_note_its_majority_is_not_doubted():
    assert not doubts.of_student({"top1": 0.0, "images": 10})
    assert not doubts.of_teacher({"val_top1": 0.0, "blocks": []})
    assert not doubts.of_features({"blocks": []})


def test_small_features_one_architecture_and_unused_budgets():
    block = {"block": 4, "height": 2, "width": 2}
    (text,) = doubts.of_features({"blocks": [{"block": 3, "height": 4, "width": 4}, block]})
    assert "2 x 2 pixels after block 4" in text
    assert "one architecture only" in doubts.of_space(1)[0]
    assert not doubts.of_space(2)
    solution = {"costs": {"macs": 20, "params": 30}, "budgets": {"macs": {"max": 40, "min": None}}}
    (text,) = doubts.of_choice(solution, {})
    assert "uses 50% of the budget" in text
    solution["budgets"]["params"] = {"max": 32, "min": None}  # the other limit binds
    assert not doubts.of_choice(solution, {})
    assert not doubts.of_choice({"costs": {"macs": 1}, "budgets": {}}, {})


class Messages(SilentProgress):
    def __init__(self) -> None:
        self.said: list[str] = []

    def message(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def solved(finished: Path, tmp_path: Path) -> Path:
    """A run that has not come to the retraining of its solution."""
    copy = Path(shutil.copytree(finished, tmp_path / "run"))
    for name in ("additivity", "students"):
        shutil.rmtree(copy / name)
    return copy


def test_the_solution_is_held_against_others_under_the_budget(finished: Path):
    found = read_json(finished / "additivity" / "additivity.json")
    held = read_json(finished / "summary.json")["additivity"]["held"]
    assert held == found["held"]
    assert held["networks"] >= 9  # ten are drawn, one of them may be the solution
    assert held["networks"] < len(found["measured"])
    assert held["better"] <= sum(value < found["measured"][0] for value in found["measured"][1:])


def test_a_contradicted_solution_is_never_called_optimal_alone(
    solved: Path,
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    measure = dna_steps.measure_additivity

    def worst_first(*args: Any, **kwargs: Any) -> Additivity:
        found = measure(*args, **kwargs)
        return dataclasses.replace(found, measured=(max(found.measured) + 0.1, *found.measured[1:]))

    monkeypatch.setattr(dna_steps, "measure_additivity", worst_first)
    progress = Messages()
    settings = tiny_settings(tmp_path, images)
    summary = run_dna(settings, solved, progress=progress)
    (said,) = (n for n, text in enumerate(progress.said) if "contradicted by its assembled networks" in text)
    assert said < next(n for n, text in enumerate(progress.said) if text.endswith("/retrain")), "before the long step"
    assert "distill.epochs" in progress.said[said]
    assert summary["solution"]["contradicted"]
    assert any("contradicted" in text for text in summary["warnings"])
    assert run_dna(settings, solved, until="solve")["contradicted"]
    show(summary, solved)
    shown = " ".join(capsys.readouterr().out.split())
    assert "proved optimal by its ratings, but contradicted by its assembled networks" in shown
    report = write_report(solved).read_text()
    assert "the proved optimum of the ratings, contradicted by its assembled networks" in report
    assert "Proved optimal by the ratings, but contradicted by the assembled networks" in report


def test_the_verb_retrain_looks_before_it_trains(solved: Path, images: Path, tmp_path: Path):
    run_dna(tiny_settings(tmp_path, images), solved, until="retrain")
    assert (solved / "additivity" / "step.json").exists()


def test_a_run_done_before_solutions_were_held_is_left_as_it_is(
    finished: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    shutil.rmtree(run / "additivity")
    with monkeypatch.context() as patch:
        patch.setattr(dna_steps.Additivity, "keys", dna_steps.Additivity._older_keys)
        patch.setattr(dna_steps.Additivity, "work", lambda *_: {"kendall_tau": 0.5, "spearman_rho": 0.5})
        run_dna(tiny_settings(tmp_path, images), run)
    record = (run / "additivity" / "step.json").read_bytes()
    summary = run_dna(tiny_settings(tmp_path, images), run)
    assert (run / "additivity" / "step.json").read_bytes() == record
    assert summary["solution"]["contradicted"] is None
