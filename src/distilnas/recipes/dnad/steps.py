"""The steps of a DNAD run, and at the end their table; ``recipe`` has what stands before and after them.

The search hands over networks from dense to sparse (``search/networks.json``); what follows does not know the method.
"""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from distilnas.data import split
from distilnas.files import read_json, write_json
from distilnas.methods.dnad import SearchNet, build_supernet, num_genotypes, search_bilevel, shrink
from distilnas.methods.dnad.costs import derived_counts
from distilnas.methods.dnad.recorder import Weighted
from distilnas.recipes import verbs
from distilnas.recipes.budgets import limits_of
from distilnas.recipes.dnad import probes
from distilnas.recipes.dnad.choice import (
    check_search,
    choose,
    chosen_record,
    derived_size,
    found_networks,
)
from distilnas.recipes.dnad.settings import DnadSettings
from distilnas.recipes.frame import Job, Step
from distilnas.recipes.materials import finish_training
from distilnas.recipes.planning.bench import Plan
from distilnas.recipes.planning.forecast import StandIn, StepForecast
from distilnas.recipes.planning.steps import about_student
from distilnas.recipes.settings import plain
from distilnas.recipes.students import DATA, Evaluate, Export, Retrain
from distilnas.recipes.teaching import EvaluateTeacher, Teacher, Teaching
from distilnas.records.dnad import FoundNetwork, SearchRecord
from distilnas.records.files import as_record, to_json
from distilnas.runtime.seeds import derive_seed
from distilnas.solve import Limit
from distilnas.space.darts import DartsArchitecture
from distilnas.training import Loop

DnadJob = Job[DnadSettings, Teaching]
DnadPlan = Plan[DnadSettings, Teaching]


def _imitates(settings: DnadSettings) -> bool:
    return settings.imitates


TEACHER, EVALUATE_TEACHER = Teacher(when=_imitates), EvaluateTeacher(when=_imitates)


class Search(Step[DnadJob, list[FoundNetwork]]):
    """Search the space; leaves the networks found, and what the method knows of its way."""

    name, verb = "search", verbs.SEARCH

    def keys(self, job: DnadJob) -> dict[str, Any]:
        settings = job.settings.search
        keys = {
            "data": job.key(DATA),
            "space": plain(job.settings.space.resolve()),
            "method": plain(getattr(settings, settings.method)),
        }
        keys |= {"teacher": job.key(TEACHER) if job.settings.imitates else None}
        return keys | {"preprocessing": job.preprocessing.to_dict()}

    def work(self, job: DnadJob, folder: Path) -> dict[str, Any]:
        return (_shrink if job.settings.search.method == "shrink" else _bilevel)(job, folder)

    def load(self, job: DnadJob) -> list[FoundNetwork]:
        path = job.do(self).folder / "networks.json"
        return as_record(path, read_json(path), list[FoundNetwork])

    def shares(self, plan: DnadPlan) -> dict[str, float]:
        return {self.name: 6, "held-out": 1}

    def probe(self, plan: DnadPlan) -> StepForecast:
        supernet = new_supernet(plan.settings, plan.classes)
        if plan.settings.search.method == "bilevel":
            return probes.bilevel_search(plan, supernet)
        return probes.shrinking(plan, supernet, plan.get(TEACHER) if plan.settings.imitates else None)


class Choose(Step[DnadJob, DartsArchitecture]):
    """Choose among the networks found, within the budgets."""

    name, verb = "solve", verbs.SOLVE

    def keys(self, job: DnadJob) -> dict[str, Any]:
        key = job.key(SEARCH)
        return {"search": key, "budgets": {limit.cost: [limit.min, limit.max] for limit in limits(job)}}

    def work(self, job: DnadJob, folder: Path) -> dict[str, Any]:
        found, within = job.get(SEARCH), limits(job)
        chosen = choose(found, within)
        architecture = DartsArchitecture.parse(chosen.architecture)
        record = to_json(chosen_record(found, chosen, within))
        write_json(folder / "solution.json", record)
        write_json(folder / "architecture.json", architecture.to_dict())
        return record["solution"] | {"budgets": record["budgets"], "hash": architecture.fingerprint}

    def load(self, job: DnadJob) -> DartsArchitecture:
        return DartsArchitecture.parse(job.result(self)["architecture"])

    def stand_in(self, plan: DnadPlan) -> StandIn[DartsArchitecture]:
        """The user's idea of it, else a guess within the budgets, which are checked."""
        sizes = {"resolution": plan.preprocessing.resolution, "classes": plan.classes}
        within = check_search(plan.settings, plan.result(TEACHER) if plan.settings.imitates else None, **sizes)
        space, width = derived_size(plan.settings)
        student = plan.student or probes.guess_darts(space, within, width=width, **sizes)
        guess = "one of two candidates at every node, or of one if the budget asks for it"
        plan.assumptions.append(about_student(plan, student, guess))
        return StandIn(artefact=student)

    def probe(self, plan: DnadPlan) -> StepForecast:
        return StepForecast(name=self.name, note="less than a second, not forecast")


SEARCH, SOLVE = Search(), Choose()
RETRAIN = Retrain(of=SOLVE)
EVALUATE, EXPORT = Evaluate(of=RETRAIN), Export(of=RETRAIN)
STEPS = (DATA, TEACHER, EVALUATE_TEACHER, SEARCH, SOLVE, RETRAIN, EVALUATE, EXPORT)


def known_teacher(job: DnadJob) -> dict[str, Any] | None:
    """What the teacher is, without its step where that is not finished; None: there is none, or it is not imitated."""
    if not job.settings.imitates:
        return None
    return job.result(TEACHER) if job.finished(TEACHER) else job.given.describe(job.given.new())


def limits(job: DnadJob) -> tuple[Limit, ...]:
    """The budgets; shares are those of the teacher's values."""
    return limits_of(job.settings, known_teacher(job))


def _shrink(job: DnadJob, folder: Path) -> dict[str, Any]:
    settings, splits = job.settings.search.shrink, job.get(DATA)
    found = shrink(
        _new_supernet(job),
        settings,
        job.materials.loop(folder, splits.train, settings, name="shrink"),
        resolution=job.preprocessing.resolution,
        device=job.device,
        seed=job.settings.seed,
        teacher=job.get(TEACHER) if job.settings.imitates else None,
        held_out=partial(job.materials.eval_batches, splits.rating),
    )
    found.archive.save(folder / "archive.json")
    networks = found_networks(found.archive)
    if not found.archive.events:
        job.progress.message(
            f"no Pareto event before the search ended ({found.archive.ended}): the controller did not come to "
            f"rest. The other {len(networks)} snapshots are handed over; more epochs or a smaller q_max may reach "
            "events."
        )
    genotypes = job.settings.space.resolve().num_genotypes
    result = _handed_over(job, folder, networks, found.archive.ended, len(found.archive.events), genotypes)
    return result | finish_training(folder, found.log)


def _bilevel(job: DnadJob, folder: Path) -> dict[str, Any]:
    settings, space = job.settings.search.bilevel, job.settings.space.resolve()
    supernet, loop = _new_supernet(job), _two_halves(job, folder)
    found = search_bilevel(supernet, settings, loop, device=job.device, seed=job.settings.seed)
    write_json(folder / "alphas.json", found.alphas.alpha.tolist())
    architecture = DartsArchitecture(
        genotype=found.genotype,
        stem=space.stem,
        width=settings.evaluation_width,
        num_cells=settings.derived_cells(space.num_cells),
    )
    params, macs = derived_counts(
        architecture, resolution=job.preprocessing.resolution, num_classes=len(job.result(DATA)["classes"])
    )
    network = FoundNetwork(
        architecture=str(architecture),
        params=params,
        macs=macs,
        step=loop.epochs * loop.steps_per_epoch,
        reason="end",
        accuracy=job.materials.accuracy(Weighted(supernet, found.alphas), job.get(DATA).rating),
        front=True,
    )
    genotypes = num_genotypes(space, shared=settings.shared)
    result = _handed_over(job, folder, [network], "the last epoch is over", 0, genotypes)
    return result | finish_training(folder, found.log)


def _handed_over(
    job: DnadJob, folder: Path, networks: list[FoundNetwork], ended: str, events: int, genotypes: int
) -> dict[str, Any]:
    """Write the networks; the step's result."""
    write_json(folder / "networks.json", [to_json(network) for network in networks])
    record = SearchRecord(
        method=job.settings.search.method,
        num_genotypes=genotypes,
        num_networks=len(networks),
        num_front=sum(network.front for network in networks),
        num_events=events,
        num_images=len(job.get(DATA).rating),
        ended=ended,
    )
    return record.to_dict()


def _two_halves(job: DnadJob, folder: Path) -> Loop:
    """Pairs of batches, for the weights from one half of the training images and for the alphas from the other."""
    train, settings = job.get(DATA).train, job.settings.search.bilevel
    seed = derive_seed(job.settings.seed, 31)
    weights, alphas = (
        job.materials.loop(folder, train.subset(part), settings, name="search")
        for part in split(train.labels, [0.5], seed)
    )

    def batches(epoch: int, start: int) -> Iterable[Any]:
        return zip(weights.batches(epoch, start), alphas.batches(epoch, start), strict=False)

    return replace(weights, batches=batches, steps_per_epoch=min(weights.steps_per_epoch, alphas.steps_per_epoch))


def _new_supernet(job: DnadJob) -> SearchNet:
    return new_supernet(job.settings, len(job.result(DATA)["classes"]))


def new_supernet(settings: DnadSettings, classes: int) -> SearchNet:
    """The supernet before it is trained."""
    return build_supernet(settings.space.resolve(), num_classes=classes, seed=derive_seed(settings.seed, 8))
