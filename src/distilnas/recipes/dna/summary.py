"""What a run comes to: ``summary.json``, the report, and the one function that does everything."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from distilnas.data import Preprocessing
from distilnas.recipes.dna.steps import DnaRun
from distilnas.recipes.own import own_teacher
from distilnas.recipes.running import drive, student_summary, write_summary
from distilnas.recipes.settings import Settings
from distilnas.recipes.teaching import DnaMaterials
from distilnas.runtime.progress import Progress
from distilnas.runtime.provenance import provenance
from distilnas.runtime.store import StepRecord, key_of

STEPS: dict[str, Callable[[DnaRun], StepRecord]] = {
    "distill": DnaRun.distill,
    "rate": DnaRun.rate,
    "cost": DnaRun.cost,
    "solve": DnaRun.solve,
    "retrain": DnaRun.retrain,
    "evaluate": DnaRun.evaluate,
    "export": DnaRun.export,
}


def run_dna(
    settings: Settings,
    folder: Path,
    *,
    progress: Progress | None = None,
    teacher: nn.Module | None = None,
    preprocessing: Preprocessing | None = None,
    until: str | None = None,
) -> dict[str, Any]:
    """Run everything, or up to the step ``until`` (a name in ``STEPS``), continuing where ``folder`` stands.

    ``teacher``: your own trained module, one output per class, where ``settings.teacher.model`` is ``own``, with the
    ``preprocessing`` it wants; it is copied, never changed. Data, teacher, partition, space and budget are checked
    before anything is written or trained.
    Returns the content of ``summary.json``, or the step's result with ``until``.
    """
    own = own_teacher(settings.teacher, teacher, preprocessing, folder)
    materials = DnaMaterials(settings, own=own, progress=progress)
    return drive(folder, settings, lambda run: DnaRun(run, materials), steps=STEPS, finish=_finish, until=until)


def _finish(dna: DnaRun) -> dict[str, Any]:
    steps = {
        "data": dna.data(),
        "teacher": dna.teacher(),
        "space": dna.space(),
        "distill": dna.distill(),
        "rate": dna.rate(),
        "cost": dna.cost(),
        "solve": dna.solve(),
        "additivity": dna.additivity(),
        "retrain": dna.retrain(),
        "evaluate": dna.evaluate(),
        "evaluate-teacher": dna.evaluate_teacher(),
        "export": dna.export(),
    }
    summary = summarise(dna, steps, dna.run.folder)
    write_summary(dna.run.folder, summary, dna.progress)
    return summary


def summarise(dna: DnaRun, steps: dict[str, StepRecord], folder: Path) -> dict[str, Any]:
    """The content of ``summary.json``; all paths are relative to the run."""
    results = {name: step.result for name, step in steps.items()}
    teacher, solution = results["teacher"], results["solve"]
    config_hash = key_of(dna.settings.to_dict())
    return {
        "run": folder.name,
        "recipe": dna.settings.recipe,
        "teacher": {
            "name": teacher["name"],
            "top1": results["evaluate-teacher"]["top1"],
            "params": teacher["params"],
            "macs": teacher["macs"],
        },
        "space": {"name": results["space"]["name"], "num_architectures": int(results["space"]["num_architectures"])},
        "rating": results["rate"],
        "solution": {
            "rating": solution["rating"],
            "macs": solution["costs"]["macs"],
            "params": solution["costs"]["params"],
            "optimal": solution["optimal"],
            "budgets": solution["budgets"],
        },
        "random": [_random_row(retrained, tested) for retrained, tested in dna.random()],
        "additivity": results["additivity"],
        **student_summary(steps, folder, architecture="solve/architecture.json", fingerprint=solution["hash"]),
        "provenance": provenance(seed=dna.settings.seed, config_hash=config_hash, device=dna.device.name),
    }


def _random_row(retrained: StepRecord, tested: StepRecord) -> dict[str, Any]:
    row = {key: retrained.result[key] for key in ("macs", "params", "architecture")}
    return row | {"top1": tested.result["top1"], "hash": retrained.name.split("/")[1]}
