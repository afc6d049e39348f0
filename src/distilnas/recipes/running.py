"""How every recipe uses a run folder: check first, then bind the folder to the settings, then the steps."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import yaml

from distilnas.config import flatten
from distilnas.errors import UsageError, nearest
from distilnas.files import read_json, write_json, write_text
from distilnas.report import write_report
from distilnas.runtime import ranks
from distilnas.runtime.progress import Progress
from distilnas.runtime.store import Run, StepRecord


class RunSettings(Protocol):
    """Settings of a whole recipe."""

    @property
    def recipe(self) -> str: ...

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        ...

    def identity(self) -> dict[str, Any]:
        """The settings that a run folder is bound to; the others may change and only repeat what depends on them."""
        ...


class Checked(Protocol):
    """The steps of a run."""

    def check(self) -> None:
        """Raise what is known to be wrong before the run writes or trains anything; cheap for a run that was begun."""
        ...


T = TypeVar("T", bound=Checked)


def drive(
    folder: Path,
    settings: RunSettings,
    make: Callable[[Run], T],
    *,
    steps: Mapping[str, Callable[[T], StepRecord]],
    finish: Callable[[T], dict[str, Any]],
    until: str | None,
) -> dict[str, Any]:
    """Do everything (``finish``), or up to the step ``until`` of ``steps``, in ``folder``."""
    if until is not None and until not in steps:
        raise UsageError(f"the recipe {settings.recipe!r} has no step {until!r}; {nearest(until, steps)}")
    with Run(folder) as run:
        made = make(run)
        begun = (folder / "run.json").exists()
        if not begun:
            made.check()
        run.claim(flatten(settings.identity()))
        if begun:
            made.check()
        write_config(folder, settings.to_dict())
        if until is None:
            return finish(made)
        record = steps[until](made)
        return record.result | {"folder": str(record.folder), "skipped": record.skipped}


def write_config(folder: Path, settings: dict[str, Any]) -> None:
    """``config.yaml``."""
    if ranks.leads():
        write_text(folder / "config.yaml", yaml.safe_dump(settings, sort_keys=False))


def write_results(folder: Path, **files: Any) -> None:
    """Write each value as NAME.json."""
    if ranks.leads():
        for name, value in files.items():
            write_json(folder / f"{name}.json", value)


def write_summary(folder: Path, summary: dict[str, Any], progress: Progress) -> None:
    """``summary.json`` and the report, unless both are there and nothing changed."""
    path = folder / "summary.json"
    if not ranks.leads():
        return
    if not (folder / "report.html").exists() or not path.exists() or read_json(path) != summary:
        write_json(path, summary)
        progress.message("report")
        write_report(folder)


def student_summary(
    steps: Mapping[str, StepRecord], folder: Path, *, architecture: str, fingerprint: str
) -> dict[str, Any]:
    """What every ``summary.json`` says of a network that was retrained, evaluated and exported in the run ``folder``.

    ``architecture``: where the run keeps its description, relative to the run as all paths are.
    """
    retrained, exported = steps["retrain"].result, steps["export"].folder.relative_to(folder)
    return {
        "student": {
            "top1": steps["evaluate"].result["top1"],
            "top5": steps["evaluate"].result["top5"],
            **{key: retrained[key] for key in ("params", "macs", "architecture")},
            "hash": fingerprint,
        },
        "onnx": steps["export"].result,
        "artefacts": {
            "architecture": architecture,
            "weights": f"{exported}/model.safetensors",
            "onnx": f"{exported}/model.onnx",
            "report": "report.html",
        },
        "seconds": {name: round(step.seconds, 2) for name, step in steps.items()},
    }
