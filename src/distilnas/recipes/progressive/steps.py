"""The scaled winner as the next teacher: DNA+ of the follow-up "DNA family" (TPAMI 2024).

Round r is a DNA run of its own in ``round-r``; its winner, scaled and trained in ``scaled-r``, teaches round r + 1.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from distilnas.config import flatten
from distilnas.errors import UsageError
from distilnas.files import read_json
from distilnas.recipes.dna.recipe import DNA
from distilnas.recipes.frame import write_config, write_summary
from distilnas.recipes.retrain.network import NetworkSettings, ScaleSettings
from distilnas.recipes.retrain.settings import RetrainSettings
from distilnas.recipes.retrain.steps import RETRAINING
from distilnas.recipes.settings import Settings, TeacherSettings, plain
from distilnas.runtime.progress import Progress, SilentProgress
from distilnas.runtime.store import Run
from distilnas.training import ClassifierSettings


@dataclass(frozen=True, kw_only=True)
class ProgressiveSettings:
    """The recipe ``progressive``: ``rounds`` searches as ``dna`` says, the first under its teacher.

    ``scale``: how large a winner grows before it teaches; a share such as 100% is one of the first teacher's. The first
    teacher's partition is its own; winners are cut as ``auto`` proposes.
    ``retrain``: how the grown winner is trained.
    """

    recipe: Literal["progressive"] = "progressive"
    rounds: int = 2
    dna: Settings
    scale: ScaleSettings
    retrain: ClassifierSettings = field(default_factory=ClassifierSettings)

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise UsageError(f"rounds must be at least 1, got {self.rounds}.")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values (tuples become lists)."""
        return plain(self)


def run_progressive(
    settings: ProgressiveSettings, folder: Path, *, progress: Progress | None = None, until: str | None = None
) -> dict[str, Any]:
    """Run all rounds, continuing where ``folder`` stands; returns the content of its ``summary.json``."""
    if until is not None:
        raise UsageError(
            f"the recipe 'progressive' runs whole: for the step {until!r} give the run of a round, e.g. "
            f"--run {folder / 'round-1'}."
        )
    progress = progress or SilentProgress()
    dna, rounds = settings.dna, []
    _check_begun(dna, folder / "round-1")
    write_config(folder, settings.to_dict())
    for number in range(1, settings.rounds + 1):
        progress.message(f"round {number} of {settings.rounds}, teacher {dna.teacher.student or dna.teacher.model}")
        found = DNA.run(dna, folder / f"round-{number}", progress=progress)
        rounds.append({"round": number, "teacher": found["teacher"], "student": found["student"]})
        if number < settings.rounds:
            scaled = _scaled(settings, dna, folder, number)
            grown = RETRAINING.run(scaled, folder / f"scaled-{number}", progress=progress)
            rounds[-1]["scaled"] = grown["student"]
            trained = folder / f"scaled-{number}" / Path(grown["artefacts"]["weights"]).parent
            dna = replace(dna, teacher=TeacherSettings(student=str(trained)))
    summary = {"run": folder.name, "recipe": settings.recipe, "rounds": rounds, "artefacts": {"report": "report.html"}}
    write_summary(folder, summary, progress)
    return summary


def _check_begun(dna: Settings, first: Path) -> None:
    """Raise where the first round was begun with other settings, before anything is overwritten."""
    if (first / "run.json").exists():
        with Run(first) as run:
            run.claim(flatten(dna.identity()))


def _scaled(settings: ProgressiveSettings, dna: Settings, folder: Path, number: int) -> RetrainSettings:
    """The retraining of round ``number``'s winner at its larger size."""
    first = read_json(folder / "round-1" / "teacher" / "step.json")["result"]
    winner = folder / f"round-{number}" / "solve" / "architecture.json"
    classes = read_json(folder / "round-1" / "data" / "step.json")["result"]["classes"]
    scale = replace(settings.scale.absolute(first), classes=settings.scale.classes or len(classes))
    network = NetworkSettings(file=str(winner), resolution=first["preprocessing"]["resolution"], scale=scale)
    return RetrainSettings(seed=dna.seed, data=dna.data, network=network, retrain=settings.retrain, runtime=dna.runtime)
