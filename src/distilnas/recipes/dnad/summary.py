"""What a DNAD run comes to: ``summary.json``, the report, and the one function that does everything."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from distilnas.recipes.dnad.materials import dnad_materials
from distilnas.recipes.dnad.settings import DnadSettings
from distilnas.recipes.dnad.steps import DnadRun
from distilnas.recipes.running import drive, student_summary, write_summary
from distilnas.runtime.progress import Progress
from distilnas.runtime.provenance import provenance
from distilnas.runtime.store import StepRecord, key_of

STEPS: dict[str, Callable[[DnadRun], StepRecord]] = {
    "search": DnadRun.search,
    "solve": DnadRun.solve,
    "retrain": DnadRun.retrain,
    "evaluate": DnadRun.evaluate,
    "export": DnadRun.export,
}


def run_dnad(
    settings: DnadSettings, folder: Path, *, progress: Progress | None = None, until: str | None = None
) -> dict[str, Any]:
    """Run everything, or up to the step ``until`` (a name in ``STEPS``), continuing where ``folder`` stands.

    Data, teacher, its taps and the budget are checked before anything is written or trained.
    Returns the content of ``summary.json``, or the step's result with ``until``.
    """
    materials = dnad_materials(settings, progress)
    return drive(
        folder, settings, lambda run: DnadRun(run, materials, settings), steps=STEPS, finish=_finish, until=until
    )


def _finish(dnad: DnadRun) -> dict[str, Any]:
    steps = {"data": dnad.data()}
    if dnad.settings.imitates:
        steps |= {"teacher": dnad.teacher(), "evaluate-teacher": dnad.evaluate_teacher()}
    steps |= {
        "search": dnad.search(),
        "solve": dnad.solve(),
        "retrain": dnad.retrain(),
        "evaluate": dnad.evaluate(),
        "export": dnad.export(),
    }
    summary = summarise(dnad, steps, dnad.run.folder)
    write_summary(dnad.run.folder, summary, dnad.progress)
    return summary


def summarise(dnad: DnadRun, steps: dict[str, StepRecord], folder: Path) -> dict[str, Any]:
    """The content of ``summary.json``; all paths are relative to the run. Ratings are held-out errors in percent."""
    results = {name: step.result for name, step in steps.items()}
    search, solution = results["search"], results["solve"]
    return {
        "run": folder.name,
        "recipe": dnad.settings.recipe,
        "teacher": _teacher(results),
        "space": {"num_architectures": int(search["num_genotypes"])},
        "rating": {
            "num_candidates": search["num_networks"],
            "num_rated": search["num_networks"],
            "num_images": search["num_images"],
            "metric": "held_out_error",
        },
        "search": {key: search[key] for key in ("method", "num_networks", "num_front", "num_events", "ended")},
        "solution": {
            "rating": 100 - solution["accuracy"],
            "macs": solution["macs"],
            "params": solution["params"],
            "optimal": True,
            "budgets": solution["budgets"],
            "step": solution["step"],
            "reason": solution["reason"],
        },
        **student_summary(steps, folder, architecture="solve/architecture.json", fingerprint=solution["hash"]),
        "provenance": provenance(
            seed=dnad.settings.seed, config_hash=key_of(dnad.settings.to_dict()), device=dnad.device.name
        ),
    }


def _teacher(results: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    if "teacher" not in results:
        return None
    named = {key: results["teacher"][key] for key in ("name", "params", "macs")}
    return named | {"top1": results["evaluate-teacher"]["top1"]}
