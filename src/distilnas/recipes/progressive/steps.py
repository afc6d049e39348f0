"""The scaled winner as the next teacher: DNA+ of the follow-up "DNA family" (TPAMI 2024).

Round r is a DNA run of its own in ``round-r``; its winner, scaled and trained in ``scaled-r``, teaches round r + 1.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from distilnas.config import flatten
from distilnas.data import Preprocessing
from distilnas.files import read_json
from distilnas.networks import build_network
from distilnas.recipes.dna.recipe import DNA, with_teacher
from distilnas.recipes.dna.steps import SOLVE, TEACHER, DnaPlan
from distilnas.recipes.frame import Outline, Series, write_config, write_summary
from distilnas.recipes.own import OwnTeacher
from distilnas.recipes.planning.forecast import USUAL_CLASSES
from distilnas.recipes.planning.parts import Part, Planner
from distilnas.recipes.progressive.settings import ProgressiveSettings
from distilnas.recipes.retrain.network import GivenNetwork, NetworkSettings
from distilnas.recipes.retrain.settings import RetrainSettings
from distilnas.recipes.retrain.steps import RETRAINING, with_network
from distilnas.recipes.settings import Settings, TeacherSettings
from distilnas.recipes.teaching import Teaching
from distilnas.runtime.progress import Progress
from distilnas.runtime.store import Run


def run_rounds(settings: ProgressiveSettings, folder: Path, progress: Progress) -> dict[str, Any]:
    """Run all rounds; the content of ``summary.json``."""
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


def forecast(planner: Planner, settings: ProgressiveSettings) -> list[Part[Any, Any]]:
    """The first round, the first scaled winner and the round that it teaches; later ones repeat these."""
    planner.waiting = 3 if settings.rounds > 1 else 1
    first = planner.part("round-1/", DNA, settings.dna, keys="dna.")
    if settings.rounds == 1:
        return [first]
    if not first.plan.images.real:
        planner.classes = first.plan.classes
    network = _forecast_winner(settings, first.plan)
    training = RetrainSettings(
        seed=settings.dna.seed,
        data=settings.dna.data,
        network=NetworkSettings(file="scaled"),
        retrain=settings.retrain,
        runtime=settings.dna.runtime,
    )
    opened = with_network(training, network, planner.progress)
    scaled = planner.part("scaled-1/", RETRAINING, training, Outline(*opened, classes=USUAL_CLASSES))
    dna, teaching = _taught_by(settings.dna, network, first.plan.classes, planner.progress)
    second = planner.part("round-2/", DNA, dna, teaching, keys="dna.")
    parts = [first, scaled, second]
    for number in range(3, settings.rounds + 1):
        parts += [scaled.again(f"scaled-{number - 1}/"), second.again(f"round-{number}/")]
    return parts


def _forecast_winner(settings: ProgressiveSettings, plan: DnaPlan) -> GivenNetwork:
    """The student that the first round is taken to find, scaled."""
    resolution = settings.dna.data.resolution or plan.get(TEACHER).partition.image_shape[-1]
    grown, pixels = settings.scale.absolute(plan.result(TEACHER)).apply(plan.get(SOLVE), resolution)
    return GivenNetwork(architecture=grown, preprocessing=Preprocessing(resolution=pixels), trained=None)


def _taught_by(
    dna: Settings, network: GivenNetwork, classes: int, progress: Progress | None
) -> tuple[Settings, Outline[Teaching]]:
    """A round under such a network."""
    pixels = dna.data.resolution or network.preprocessing.resolution
    module = build_network(network.architecture, num_classes=classes)
    own = OwnTeacher(key="scaled", preprocessing=Preprocessing(resolution=pixels), module=module)
    taught = replace(dna, teacher=TeacherSettings(student="scaled", partition=dna.teacher.partition))
    return taught, Outline(*with_teacher(taught, own, progress), classes=USUAL_CLASSES)


def _refuse(settings: ProgressiveSettings, folder: Path, verb: str) -> str:
    return (
        f"the recipe 'progressive' runs whole: for the step {verb!r} give the run of a round, e.g. "
        f"--run {folder / 'round-1'}."
    )


PROGRESSIVE = Series(name="progressive", settings=ProgressiveSettings, do=run_rounds, refuse=_refuse, parts=forecast)
