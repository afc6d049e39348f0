"""The best of each kind is recovered briefly, and the run goes on with the one that is nearest to its teacher then."""

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_run import write_images
from tiny_shrink import tiny_shrink

from distilnas.networks import load_student
from distilnas.recipes.catalogue import run_recipe
from distilnas.recipes.shrink import recovering
from distilnas.recovery import Trials

ROUNDS = ("recovery.epochs=6", "recovery.batch_size=8", "choice.curve=0", "choice.explorer=0", "choice.assembled=4")
UPDATES = 5  # 74 images are 9 updates an epoch, a tenth of 54


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("trial-data") / "images")


def _result(run: Path, step: str) -> dict[str, Any]:
    return json.loads((run / "students" / "macs-70pct" / step / "step.json").read_text())["result"]


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trial")
    run_recipe(tiny_shrink(folder, photos, *ROUNDS), folder / "run")
    return folder / "run"


def test_the_nearest_after_its_trial_goes_on(run: Path) -> None:
    trial, chosen = _result(run, "trial"), _result(run, "choose")
    finalists, rows = chosen["finalists"], trial["trials"]
    assert 1 < len(rows) == len(finalists) <= 3
    assert len({(len(row["kept"]), row["side"]) for row in finalists}) == len(finalists)
    assert trial["trial_updates"] == UPDATES
    best = min(rows, key=lambda row: row["val_kl"])
    assert trial["folder"] == best["folder"]
    assert (trial["macs"], trial["params"]) == (best["macs"], best["params"])
    summary = json.loads((run / "summary.json").read_text())
    assert summary["student"]["macs"] == best["macs"]
    assert summary["student"]["trials"] == rows


def test_nothing_of_the_trials_is_left(run: Path) -> None:
    names = {path.name for path in (run / "students" / "macs-70pct" / "trial").iterdir()}
    assert names == {"started.json", "step.json"}


def test_a_run_goes_on_with_whatever_its_trial_names(
    run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another finalist is made the best: its choice, costs, recovery and test are then those of the run."""
    finalists, won = _result(run, "choose")["finalists"], _result(run, "trial")["folder"]
    planted = next(i for i, row in enumerate(finalists) if row["folder"] != won)

    def hold(students: Any, *_: Any, **__: Any) -> Trials:
        rows = tuple({"lr": 1e-3, "val_kl": float(i != planted)} for i in range(len(students)))
        return Trials(updates=UPDATES, ended=rows)

    monkeypatch.setattr(recovering, "hold_trials", hold)
    summary = run_recipe(tiny_shrink(tmp_path, photos, *ROUNDS), tmp_path / "run")
    row = _result(tmp_path / "run", "choose")["finalists"][planted]
    student = load_student(tmp_path / "run" / Path(summary["artefacts"]["weights"]).parent)
    assert sum(weight.numel() for weight in student.parameters()) == row["params"] == summary["student"]["params"]
    assert summary["student"]["as_rated"] == row["as_rated"]
    assert _result(tmp_path / "run", "recover")["before"] != _result(run, "recover")["before"]


def test_one_kind_alone_is_not_tried(photos: Path, tmp_path: Path) -> None:
    summary = run_recipe(tiny_shrink(tmp_path, photos, *ROUNDS, "choice.tried=1"), tmp_path / "run")
    assert summary["student"]["trials"] == []
    assert _result(tmp_path / "run", "trial")["folder"] == "."
