"""What a run comes to: ``summary.json``, the report, and the one function that does everything."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from torch import nn

from distilnas.config import flatten
from distilnas.data import Preprocessing
from distilnas.files import read_json, write_json, write_text
from distilnas.recipes.dna import DnaRun
from distilnas.recipes.materials import Materials
from distilnas.recipes.own import own_teacher
from distilnas.recipes.settings import Settings
from distilnas.report import write_report
from distilnas.runtime.progress import Progress
from distilnas.runtime.provenance import provenance
from distilnas.runtime.store import Run, StepRecord, key_of

STEPS: dict[str, Callable[[DnaRun], Any]] = {
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
    materials = Materials(settings, own=own, progress=progress)
    with Run(folder) as run:
        dna = DnaRun(run, materials)
        begun = (folder / "run.json").exists()
        if not begun:
            dna.check()
        run.claim(flatten(settings.identity()))
        if begun:
            dna.check()
        write_text(folder / "config.yaml", yaml.safe_dump(settings.to_dict(), sort_keys=False))
        if until is not None:
            record: StepRecord = STEPS[until](dna)
            return record.result | {"folder": str(record.folder), "skipped": record.skipped}
        return _finish(dna, folder)


def _finish(dna: DnaRun, folder: Path) -> dict[str, Any]:
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
    summary = summarise(dna, steps, folder)
    path = folder / "summary.json"
    if not (folder / "report.html").exists() or not path.exists() or read_json(path) != summary:
        write_json(path, summary)
        dna.progress.message("report")
        write_report(folder)
    return summary


def summarise(dna: DnaRun, steps: dict[str, StepRecord], folder: Path) -> dict[str, Any]:
    """The content of ``summary.json``; all paths are relative to the run."""
    results = {name: step.result for name, step in steps.items()}
    teacher, solution, student = results["teacher"], results["solve"], results["retrain"]
    config_hash = key_of(dna.settings.to_dict())
    exported = steps["export"].folder.relative_to(folder)
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
        "student": {
            "top1": results["evaluate"]["top1"],
            "params": student["params"],
            "macs": student["macs"],
            "architecture": student["architecture"],
            "hash": solution["hash"],
        },
        "random": [_random_row(retrained, tested) for retrained, tested in dna.random()],
        "additivity": results["additivity"],
        "onnx": results["export"],
        "artefacts": {
            "architecture": "solve/architecture.json",
            "weights": f"{exported}/model.safetensors",
            "onnx": f"{exported}/model.onnx",
            "report": "report.html",
        },
        "seconds": {name: round(step.seconds, 2) for name, step in steps.items()},
        "provenance": provenance(seed=dna.settings.seed, config_hash=config_hash, device=dna.device.name),
    }


def _random_row(retrained: StepRecord, tested: StepRecord) -> dict[str, Any]:
    row = {key: retrained.result[key] for key in ("macs", "params", "architecture")}
    return row | {"top1": tested.result["top1"], "hash": retrained.name.split("/")[1]}
