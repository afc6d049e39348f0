"""Steps that only tell of students: what they and their teacher answer, and what other budgets would give."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from distilnas.data import ImageSet
from distilnas.files import write_json
from distilnas.latency.keep import LATENCY
from distilnas.recipes.frame import Job, Step
from distilnas.recipes.planning.forecast import StepForecast
from distilnas.recipes.shrink.settings import ShrinkSettings
from distilnas.recipes.students import DATA, beside
from distilnas.recipes.teaching import TEACHER, EvaluateTeacher, Teaching
from distilnas.report.compared import Answers, difference, read_answers, write_answers, write_photos
from distilnas.surgery.choose import Chosen
from distilnas.surgery.explore import TrunkSearch, explore, least_costs
from distilnas.surgery.library import Library
from distilnas.tables.measures import ADDITIVE, Number

_SHOWN = 12
_SIDE = 96


@dataclass(frozen=True, kw_only=True)
class EvaluateParent(EvaluateTeacher):
    """Test the teacher and keep what it takes each image for."""

    def keys(self, job: Any) -> dict[str, Any]:
        return super().keys(job) | {"kept": "predictions"}

    def work(self, job: Any, folder: Path) -> dict[str, Any]:
        images = job.get(DATA).test
        found, tested = job.materials.answers(job.get(TEACHER).model, images)
        save_answers(folder, found, images)
        return tested


@dataclass(frozen=True, kw_only=True)
class Compare(Step[Job[ShrinkSettings, Teaching], None]):
    """A student's answers beside its teacher's: the paired difference, and photos that one of them alone gets right."""

    name: str = "compare"
    of: Step[Any, Any]
    teacher: Step[Any, Any]

    def place(self, job: Any) -> str:
        return beside(self.of.place(job), self.name)

    def keys(self, job: Any) -> dict[str, Any]:
        return {"student": job.key(self.of), "teacher": job.key(self.teacher)}

    def work(self, job: Any, folder: Path) -> dict[str, Any]:
        test = job.get(DATA).test
        student, teacher = (read_answers(job.do(step).folder) for step in (self.of, self.teacher))
        chosen = _apart(student, teacher)
        if chosen:
            write_photos(folder, np.stack([_thumbnail(test, i) for i in chosen]))
        answers = {"label": student.labels, "teacher": teacher.found, "student": student.found}
        rows = [{"name": test.name_of(i), **{who: int(values[i]) for who, values in answers.items()}} for i in chosen]
        balanced = {"balanced": student.balanced, "teacher_balanced": teacher.balanced}
        return {**asdict(difference(student, teacher)), **balanced, "photos": rows}


@dataclass(frozen=True, kw_only=True)
class Explore(Step[Job[ShrinkSettings, Teaching], None]):
    """The best student by rating under every combination of budgets of a grid; nothing is trained or measured.

    ``of``: the step that hands on the library. ``timed``: that with its latency, which is a measure of the grid where a
    budget names it; with four measures the grid has half as many values of each.
    """

    name: str = "explore"
    of: Step[Any, Any]
    timed: Step[Any, Any]

    def applies(self, settings: ShrinkSettings) -> bool:
        return settings.choice.explorer > 0

    def keys(self, job: Any) -> dict[str, Any]:
        timed = {"latency": job.key(self.timed)} if self.timed.applies(job.settings) else {}
        return {"library": job.key(self.of), "values": job.settings.choice.explorer, **timed}

    def work(self, job: Any, folder: Path) -> dict[str, Any]:
        shelf, number = job.get(self.of), job.settings.choice.explorer
        trunks, teacher = shelf.trunks, {name: shelf.teacher[name] for name in ADDITIVE}
        if self.timed.applies(job.settings):
            clocked = job.get(self.timed)
            trunks, number = clocked.trunks, max(2, number // 2)
            teacher[LATENCY] = clocked.table.teacher.median
        least = {name: min(least_costs(trunk)[name] for trunk in trunks) for name in teacher}
        grid = {name: grid_of(most, float(least[name]), number) for name, most in teacher.items()}
        found = explore(TrunkSearch(trunks), {name: list(values.values()) for name, values in grid.items()})
        units = [unit.name for unit in shelf.library.units]
        rows = [_row(shelf.library, one) for one in found]
        write_json(folder / "explore.json", {"teacher": teacher, "grid": grid, "units": units, "students": rows})
        return {"students": len(rows)}

    def probe(self, plan: Any) -> StepForecast:
        """Not forecast: how many combinations must be searched depends on their answers."""
        return StepForecast(name=self.name, note="seconds to a minute, not forecast")


def grid_of(most: Number, least: float, number: int) -> dict[str, Number]:
    """Up to ``number`` budgets from the teacher's value down to the ``least``, by their share as text (``45%``)."""
    shares = {round(100 * share) for share in np.linspace(1, min(1.0, max(least / most, 0.01)), number)}
    values = {f"{share}%": share * most / 100 for share in sorted(shares, reverse=True)}
    return {text: int(value) if isinstance(most, int) else value for text, value in values.items()}


def _row(library: Library, one: Chosen) -> dict[str, Any]:
    costs = {name: value if isinstance(value, float) else int(value) for name, value in one.solution.costs.items()}
    told = {"rating": one.solution.rating, "stderr": library.rating_of(one.choice).stderr, "side": one.choice.side}
    return {**told, **costs, "kept": list(_shares(library, one))}


def _shares(library: Library, one: Chosen) -> Iterator[float | str | None]:
    """Of each unit the share of its inner channels that is kept, or the text of a new module; None where it is left
    out."""
    kept = [*one.choice.kept, *[None] * (len(library.units) - len(one.choice.kept))]
    for numbers, parts in zip(kept, library.parts, strict=True):
        whole = sum(part.options[0] for part in parts)
        if numbers is None or isinstance(numbers, str):
            yield numbers
        else:
            yield round(sum(numbers) / whole, 3) if whole else 1.0


def save_answers(folder: Path, found: np.ndarray, images: ImageSet) -> None:
    """What a network took each image for, beside what it is."""
    write_answers(folder, Answers(labels=images.labels, found=found, classes=len(images.classes)))


def _apart(student: Answers, teacher: Answers) -> list[int]:
    """Images that one of them alone gets right, in turn those that were lost and those that were gained."""
    right, before = student.found == student.labels, teacher.found == teacher.labels
    lost, gained = np.flatnonzero(before & ~right).tolist(), np.flatnonzero(right & ~before).tolist()
    each = max(_SHOWN // 2, _SHOWN - min(len(lost), len(gained)))
    return sorted([*_spread(lost, each), *_spread(gained, each)])[:_SHOWN]


def _spread(some: list[int], number: int) -> list[int]:
    at = np.unique(np.linspace(0, len(some) - 1, min(number, len(some))).round().astype(int)) if some else []
    return [some[i] for i in at]


def _thumbnail(images: ImageSet, i: int) -> np.ndarray:
    """(side, side, 3) uint8, the whole image on gray."""
    image = ImageOps.contain(images.pil(i), (_SIDE, _SIDE), Image.Resampling.LANCZOS)
    canvas = Image.new("RGB", (_SIDE, _SIDE), (128, 128, 128))
    canvas.paste(image, ((_SIDE - image.width) // 2, (_SIDE - image.height) // 2))
    return np.asarray(canvas)


def paired(job: Any, step: Compare) -> Mapping[str, Any]:
    """What a comparison says, without its photos."""
    return {key: value for key, value in job.result(step).items() if key != "photos"}
