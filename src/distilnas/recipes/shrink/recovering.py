"""The long step of a shrinking run, and before it the same for a little while with each of the best students."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import rmtree
from typing import Any, ClassVar

from torch import nn

from distilnas.networks import save_student
from distilnas.recipes.frame import Step
from distilnas.recipes.materials import CHECKPOINT, finish_training
from distilnas.recipes.planning.forecast import StandIn, StepForecast
from distilnas.recipes.planning.meter import Probed
from distilnas.recipes.settings import plain
from distilnas.recipes.shrink import probes
from distilnas.recipes.shrink.budgets import in_words, slug
from distilnas.recipes.shrink.students import (
    Draft,
    ShrinkJob,
    ShrinkPlan,
    fit_epochs,
    kind_of,
    lesson_of,
    read_student,
    wants,
    words,
)
from distilnas.recipes.shrink.telling import EvaluateParent
from distilnas.recipes.students import DATA, LeavesNetwork, beside
from distilnas.recipes.teaching import TEACHER
from distilnas.recovery import RecoverySettings, Trials, hold_trials, recover
from distilnas.runtime import ranks


@dataclass(frozen=True, kw_only=True)
class TryOut(Step[ShrinkJob, Draft]):
    """The best students of each kind, of which ``of`` left one or more, recovered briefly; the nearest to the teacher
    then goes on.

    All have the highest learning rate that the first one bears, and so has the recovery. It stays in the folder of
    ``of``: see ``student``. The record is that of ``of`` with the words of the one chosen.
    """

    name: str = "trial"
    of: Step[ShrinkJob, Draft]
    budget: tuple[tuple[str, str | int], ...]
    together: ClassVar = True

    def place(self, job: ShrinkJob) -> str:
        return beside(self.of.place(job), self.name)

    def keys(self, job: ShrinkJob) -> dict[str, Any]:
        return {"choose": job.key(self.of), "data": job.key(DATA), "recovery": plain(job.settings.recovery)}

    def student(self, job: ShrinkJob) -> Path:
        """The folder of the one that goes on."""
        return job.do(self.of).folder / job.result(self)["folder"]

    def work(self, job: ShrinkJob, folder: Path) -> dict[str, Any]:
        chosen = job.do(self.of)
        finalists: list[dict[str, Any]] = chosen.result["finalists"]
        found, places = Trials(updates=0), []
        if len(finalists) > 1:
            job.progress.message(f"  {in_words(dict(self.budget))}: the best of {len(finalists)} kinds, briefly")
            students = [read_student(job, chosen.folder / row["folder"]) for row in finalists]
            places = [folder / str(number) for number in range(len(students))]
            pairs = [(one, _lesson(job, one, place)) for one, place in zip(students, places, strict=True)]
            found = hold_trials(pairs, job.settings.recovery, fit_epochs=fit_epochs(job.settings))
        best = finalists[found.best]
        rows = [
            {"kind": kind_of(row), **{name: row[name] for name in ("folder", "macs", "params")}, **ended}
            for row, ended in zip(finalists, found.ended, strict=False)
        ]
        if rows:
            _tell(job, rows, found)
        for place in places if ranks.rank() == 0 else ():
            rmtree(place)
        rest = {name: value for name, value in chosen.result.items() if name != "finalists"}
        return {**rest, **best, "trials": rows, "trial_updates": found.updates, "lr": found.lr}

    def stand_in(self, plan: ShrinkPlan) -> StandIn[Draft]:
        return StandIn(artefact=plan.get(self.of))

    def probe(self, plan: ShrinkPlan) -> StepForecast:
        found = _forecast(plan, self, plan.settings.recovery, trials=self.number(plan))
        return replace(found, name=self.name)

    def number(self, plan: ShrinkPlan) -> int:
        """How many students a forecast takes to be tried."""
        kinds = {(len(one.choice.kept), one.choice.side) for one in plan.get(self.of).candidates}
        return min(len(kinds), plan.settings.choice.tried)


@dataclass(frozen=True, kw_only=True)
class Recover(LeavesNetwork):
    """Distil the teacher into the whole student."""

    name: str = "recover"
    of: TryOut
    together: ClassVar = True

    def place(self, job: ShrinkJob) -> str:
        return beside(self.of.place(job), self.name)

    def keys(self, job: ShrinkJob) -> dict[str, Any]:
        return {"choose": job.key(self.of), "data": job.key(DATA), "recovery": plain(job.settings.recovery)}

    def work(self, job: ShrinkJob, folder: Path) -> dict[str, Any]:
        student = read_student(job, self.of.student(job))
        lesson = lesson_of(job, student, folder / CHECKPOINT)
        settings, rate = job.settings.recovery, job.result(self.of)["lr"]
        settings = settings if rate is None else settings.at(rate)
        found = recover(student, lesson, settings, fit_epochs=fit_epochs(job.settings))
        after = found.log.epochs[-1]
        helped = _no_worse(found.before, after, len(lesson.validation))
        if not helped:
            job.progress.message(
                "  mind: the student is worse on held-out images after its recovery: it stays untrained"
            )
        kept: Any = found.model if helped else read_student(job, self.of.student(job))
        save_student(folder, kept, **words(job, wants(job, student).resolution))
        result = {"before": found.before, "after": after, "helped": helped, "lr": found.lr}
        result |= {"tried": list(found.tried), "updates": found.updates}
        return result | finish_training(folder, found.log)

    def network(self, plan: ShrinkPlan) -> nn.Module:
        """See ``LeavesNetwork``."""
        return plan.get(self.of).student

    def shares(self, plan: ShrinkPlan) -> dict[str, float]:
        return {_probing(self.of.budget): 4}

    def probe(self, plan: ShrinkPlan) -> StepForecast:
        settings = plan.settings.recovery
        settings = replace(settings, rates=()) if self.of.number(plan) > 1 else settings  # found by the trials
        return replace(_forecast(plan, self.of, settings), name=self.name)


def passes(plan: ShrinkPlan, tried: TryOut) -> Probed:
    """Passes of a budget's student."""
    return plan.bench.passes(f"evaluate {slug(dict(tried.budget))}", plan.get(tried).student)


def _forecast(plan: ShrinkPlan, tried: TryOut, settings: RecoverySettings, *, trials: int = 0) -> StepForecast:
    """Of a recovery, or of so many ``trials`` before it."""
    student = plan.get(tried).student
    return probes.recovery_step(
        plan.bench,
        _probing(tried.budget),
        student,
        lesson_of(plan, student, Path(CHECKPOINT)),
        settings,
        (passes(plan, tried), plan.bench.passes(EvaluateParent.name, plan.get(TEACHER).model)),
        fit_epochs=fit_epochs(plan.settings),
        trials=trials,
    )


def _probing(budget: tuple[tuple[str, str | int], ...]) -> str:
    return f"recover {slug(dict(budget))}"


def _lesson(job: ShrinkJob, student: Any, place: Path) -> Any:
    place.mkdir(parents=True, exist_ok=True)
    return lesson_of(job, student, place / CHECKPOINT)


def _no_worse(before: Mapping[str, float], after: Mapping[str, float], images: int) -> bool:
    """On so many held-out images: by top-1 where labels are known; by the divergence from the teacher where they are
    not, or where top-1 fell by less than its standard error."""
    if "val_top1" in before:
        top1, fell = before["val_top1"], before["val_top1"] - after["val_top1"]
        if fell <= 0 or fell > (top1 * (100 - top1) / images) ** 0.5:
            return fell <= 0
    return after["val_kl"] <= before["val_kl"]


def _tell(job: ShrinkJob, rows: Sequence[Mapping[str, Any]], found: Trials) -> None:
    each = ", ".join(
        f"{row['kind']} {'diverged' if row['val_kl'] is None else format(row['val_kl'], '.3f')}" for row in rows
    )
    on = "the best before training goes on" if found.best == 0 else f"{rows[found.best]['kind']} goes on"
    job.progress.message(f"  nats from the teacher after {found.updates} updates: {each}; {on}")
