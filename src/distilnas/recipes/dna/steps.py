"""The steps of a DNA run, and at the end their table; ``recipe`` has what stands before and after them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from distilnas.checksums import read_record
from distilnas.costing import cost_table
from distilnas.files import read_json, write_json
from distilnas.methods.dna import DistillSettings, RateSettings, hold, measure_additivity, rate
from distilnas.networks import save_student
from distilnas.recipes import doubts, verbs
from distilnas.recipes.budgets import limits_of
from distilnas.recipes.distilling import TrainSupernet
from distilnas.recipes.dna import probes
from distilnas.recipes.frame import Job, Several, Step
from distilnas.recipes.materials import Batches
from distilnas.recipes.planning.bench import Plan
from distilnas.recipes.planning.disk import table_mb
from distilnas.recipes.planning.forecast import StandIn, StepForecast, Work
from distilnas.recipes.planning.steps import about_student
from distilnas.recipes.settings import Settings, plain
from distilnas.recipes.solving import (
    check_budget,
    keeps,
    more_within,
    random_choices,
    random_in_budget,
    read_choice,
    solve_run,
)
from distilnas.recipes.spaces import resolve_space
from distilnas.recipes.students import DATA, Evaluate, Export, Retrain
from distilnas.recipes.teaching import EVALUATE_TEACHER, TEACHER, Teaching
from distilnas.records.files import to_json
from distilnas.runtime.store import StepRecord
from distilnas.solve import Limit
from distilnas.space import Architecture, Choice, SearchSpace
from distilnas.supernet import assemble
from distilnas.tables import CostTable, RatingTable
from distilnas.tables.csv import write_ratings_csv

ADDITIVITY_SAMPLES = 30
WITHIN_BUDGET = 10
DnaJob = Job[Settings, Teaching]
DnaPlan = Plan[Settings, Teaching]


class Space(Step[DnaJob, SearchSpace]):
    """Resolve the search space and check that it fits the teacher's blocks."""

    name = "space"

    def keys(self, job: DnaJob) -> dict[str, Any]:
        return {"partition": job.result(TEACHER)["partition"], "space": plain(job.settings.space)}

    def work(self, job: DnaJob, folder: Path) -> dict[str, Any]:
        space = resolve_space(job.settings.space, job.result(TEACHER)["partition"])
        for text in (*doubts.of_features(job.result(TEACHER)), *doubts.of_space(space.num_architectures)):
            job.progress.message(f"mind: {text}")
        write_json(folder / "space.json", space.to_dict())
        return {
            "name": space.name,
            "fingerprint": space.fingerprint,
            "num_architectures": str(space.num_architectures),
        }

    def load(self, job: DnaJob) -> SearchSpace:
        return SearchSpace.from_dict(read_json(job.do(self).folder / "space.json"))

    def stand_in(self, plan: DnaPlan) -> StandIn[SearchSpace]:
        space, seconds = plan.timed(partial(resolve_space, plan.settings.space, plan.result(TEACHER)["partition"]))
        return StandIn(artefact=space, seconds=seconds)

    def probe(self, plan: DnaPlan) -> StepForecast:
        return StepForecast(name=self.name, works=(Work(fixed=plan.made(self).seconds),))


class Distill(TrainSupernet):
    """Train the supernet of the run's space."""

    verb = verbs.DISTILL

    def keys(self, job: DnaJob) -> dict[str, Any]:
        return {"teacher": job.key(TEACHER), "space": job.key(SPACE), "distill": plain(job.settings.distill)}

    def settings(self, job: DnaJob | DnaPlan) -> DistillSettings:
        """See ``TrainSupernet``."""
        return job.settings.distill

    def space(self, job: DnaJob | DnaPlan) -> SearchSpace:
        """See ``TrainSupernet``."""
        return job.get(SPACE)


@dataclass(frozen=True, kw_only=True)
class Rate(Step[DnaJob, RatingTable]):
    """Rate every candidate on held-out training images, as the run's settings say or by ``settings`` in ``folder``."""

    name: str = "rate"
    folder: str = "rate"
    settings: RateSettings | None = None
    verb: ClassVar = verbs.RATE
    together: ClassVar = True

    def place(self, job: DnaJob) -> str:
        return self.folder

    def keys(self, job: DnaJob) -> dict[str, Any]:
        return {"distill": job.key(DISTILL), "rate": plain(self.settings or job.settings.rate)}

    def work(self, job: DnaJob, folder: Path) -> dict[str, Any]:
        settings, space = self.settings or job.settings.rate, job.get(SPACE)
        table = rate(
            job.get(DISTILL),
            job.get(TEACHER),
            partial(rating_batches, job, settings),
            settings,
            device=job.device,
            progress=job.progress,
        )
        table.save(folder / "ratings.npz")
        write_ratings_csv(folder / "ratings.csv", table)
        return {
            "metric": table.metric,
            "num_candidates": space.num_candidates,
            "num_rated": table.num_rated,
            "num_images": table.num_images,
        }

    def load(self, job: DnaJob) -> RatingTable:
        return RatingTable.load(job.do(self).folder / "ratings.npz")

    def shares(self, plan: DnaPlan) -> dict[str, float]:
        return {self.name: 3}

    def probe(self, plan: DnaPlan) -> StepForecast:
        return probes.rating(plan, plan.made(DISTILL), plan.get(TEACHER))


class Cost(Step[DnaJob, CostTable]):
    """Compute the cost tables of the space."""

    name, verb = "cost", verbs.COST

    def keys(self, job: DnaJob) -> dict[str, Any]:
        return {"space": job.key(SPACE), **self._sizes(job)}

    def work(self, job: DnaJob, folder: Path) -> dict[str, Any]:
        table = cost_table(job.get(SPACE), **self._sizes(job))
        table.save(folder / "costs.npz")
        return {"costs": list(table.costs)}

    def load(self, job: DnaJob) -> CostTable:
        return CostTable.load(job.do(self).folder / "costs.npz")

    def stand_in(self, plan: DnaPlan) -> StandIn[CostTable]:
        sizes = {"resolution": plan.preprocessing.resolution, "num_classes": plan.classes}
        table, seconds = plan.timed(partial(cost_table, plan.get(SPACE), **sizes))
        return StandIn(artefact=table, seconds=seconds)

    def probe(self, plan: DnaPlan) -> StepForecast:
        made = plan.made(self)
        return StepForecast(name=self.name, works=(Work(fixed=made.seconds),), disk_mb=table_mb(made.artefact))

    def _sizes(self, job: DnaJob) -> dict[str, Any]:
        return {"resolution": job.preprocessing.resolution, "num_classes": len(job.result(DATA)["classes"])}


class Solve(Step[DnaJob, Architecture]):
    """Find the best architecture under the budgets, with proof, alternatives and Pareto fronts."""

    name, verb = "solve", verbs.SOLVE

    def keys(self, job: DnaJob) -> dict[str, Any]:
        limits = limits_of(job.settings, job.result(TEACHER))
        budgets = {limit.cost: [limit.min, limit.max] for limit in limits}
        keys = {"rate": job.key(RATE), "cost": job.key(COST), "budgets": budgets}
        return keys | {"alternatives": job.settings.solve.alternatives}

    def work(self, job: DnaJob, folder: Path) -> dict[str, Any]:
        limits = limits_of(job.settings, job.result(TEACHER))
        tables = job.get(SPACE), job.get(RATE), job.get(COST)
        solved, fronts = solve_run(*tables, limits, job.settings.solve.alternatives)
        record, architecture = solved.to_dict(), tables[0].architecture(solved.solution.choice)
        write_json(folder / "solution.json", record)
        write_json(folder / "front.json", {cost: [one.to_dict() for one in front] for cost, front in fronts.items()})
        write_json(folder / "architecture.json", architecture.to_dict())
        return record["solution"] | {"budgets": record["budgets"], "hash": architecture.fingerprint}

    def load(self, job: DnaJob) -> Architecture:
        return Architecture.parse(job.result(self)["architecture"])

    def done(self, job: DnaJob) -> StepRecord:
        """What is known by now to contradict the solution stands beside it."""
        solved, held = super().done(job), read_record(job.run.folder / ADDITIVITY.name)
        if held.get("inputs", {}).get("choice") != solved.result["choice"]:
            return solved
        return replace(solved, result=solved.result | {"contradicted": doubts.contradicted(held["result"])})

    def stand_in(self, plan: DnaPlan) -> StandIn[Architecture]:
        """The user's idea of it, else a guess within the budgets, which are checked."""
        space, costs, limits = plan.get(SPACE), plan.get(COST), limits_of(plan.settings, plan.result(TEACHER))
        check_settings(plan.settings, space, costs, plan.result(TEACHER))
        student = plan.student or probes.guess_architecture(space, costs, limits, seed=plan.settings.seed)
        guess = "the largest in MACs of 1,000 random ones in the budget"
        plan.assumptions.append(about_student(plan, student, guess))
        return StandIn(artefact=student)

    def probe(self, plan: DnaPlan) -> StepForecast:
        return StepForecast(name=self.name, note="seconds to minutes, not forecast; one process")


class Additivity(Step[DnaJob, None]):
    """Compare rating sums with the imitation of assembled supernet paths; hold the solution against them."""

    name = "additivity"

    def keys(self, job: DnaJob) -> dict[str, Any]:
        return self._older_keys(job) | {"budgets": job.result(SOLVE)["budgets"]}

    def done(self, job: DnaJob) -> StepRecord:
        older = json.loads(json.dumps(self._older_keys(job) | {"seed": job.materials.seed}))
        return job.run.finished(self.name, older) or super().done(job)

    def work(self, job: DnaJob, folder: Path) -> dict[str, Any]:
        space, limits = job.get(SPACE), limits_of(job.settings, job.result(TEACHER))
        choices = [read_choice(job.result(SOLVE)["choice"], space), *self._drawn(job)]
        batches = partial(rating_batches, job)
        found = measure_additivity(
            job.get(DISTILL), job.get(TEACHER), job.get(RATE), choices, batches, device=job.device
        )
        held = hold(found, _rivals(space, job.get(COST), limits, choices))
        write_json(folder / "additivity.json", to_json(replace(found, held=held)))
        return {"kendall_tau": found.kendall_tau, "spearman_rho": found.spearman_rho, "held": to_json(held)}

    def probe(self, plan: DnaPlan) -> StepForecast:
        paths = 1 + len(self._drawn(plan))
        return probes.whole_networks(plan, plan.get(DISTILL), plan.get(TEACHER), paths=paths, name=self.name)

    def _drawn(self, job: DnaJob | DnaPlan) -> list[Choice]:
        """The solution's rivals: random networks, and further ones so that enough keep the budget."""
        space, limits, seed = job.get(SPACE), limits_of(job.settings, job.result(TEACHER)), job.settings.seed
        drawn = random_choices(space, ADDITIVITY_SAMPLES, seed)
        return drawn + more_within(space, job.get(COST), limits, drawn, WITHIN_BUDGET, seed)

    def _older_keys(self, job: DnaJob) -> dict[str, Any]:
        """Of runs that were done before solutions were held against others."""
        return {"rate": job.key(RATE), "choice": job.result(SOLVE)["choice"]}


@dataclass(frozen=True, kw_only=True)
class RetrainSolution(Retrain):
    """Train the solution; before its first training it is held against its assembled networks."""

    def done(self, job: DnaJob) -> StepRecord:
        if not job.finished(self):
            for text in doubts.of_choice(job.result(SOLVE), job.result(ADDITIVITY)):
                job.progress.message(f"mind: {text}")
        return super().done(job)


class Library(Step[DnaJob, None]):
    """The solution with the supernet's weights, where its training starts from them."""

    name = "library"

    def applies(self, settings: Settings) -> bool:
        return settings.retrain.start == "library"

    def keys(self, job: DnaJob) -> dict[str, Any]:
        return {"distill": job.key(DISTILL), "choice": job.result(SOLVE)["choice"], "rate": plain(job.settings.rate)}

    def work(self, job: DnaJob, folder: Path) -> dict[str, Any]:
        choice, classes = read_choice(job.result(SOLVE)["choice"], job.get(SPACE)), job.get(DATA).train.classes
        batches = partial(rating_batches, job)
        made = assemble(
            job.get(DISTILL), choice, batches, num_classes=len(classes), seed=job.settings.seed, adapters="drop"
        )
        save_student(folder, made.model, classes=classes, preprocessing=job.preprocessing.to_dict())
        return {"folded": made.folded, "dropped": made.dropped}


def library_start(job: DnaJob) -> StepRecord | None:
    """The record of the network that the student's training starts from."""
    return job.do(LIBRARY) if LIBRARY.applies(job.settings) else None


class RandomNetworks(Several[DnaJob]):
    """Random networks of the same budget, trained and tested like the student."""

    name, timed = "random", False

    def applies(self, settings: Settings) -> bool:
        return settings.random.number > 0

    def each(self, job: DnaJob) -> Sequence[Step[Any, Any]]:
        limits = limits_of(job.settings, job.result(TEACHER))
        macs, tables = job.result(SOLVE)["costs"]["macs"], (job.get(SPACE), job.get(COST))
        drawn = random_in_budget(*tables, limits, job.settings.random, macs, job.settings.seed)
        trained = [Retrain(of=architecture, teacher=TEACHER) for architecture in drawn]
        return [step for retrain in trained for step in (retrain, Evaluate(of=retrain))]

    def probe(self, plan: DnaPlan) -> StepForecast:
        number, retrained, tested = plan.settings.random.number, plan.forecast(RETRAIN), plan.forecast(EVALUATE)
        return replace(
            retrained,
            name=self.name,
            works=number * (*retrained.works, *tested.works),
            disk_mb=number * retrained.disk_mb,
            note=f"{number} networks, retrained and tested",
        )


SPACE, DISTILL, RATE, COST, SOLVE, ADDITIVITY = Space(), Distill(), Rate(), Cost(), Solve(), Additivity()
LIBRARY = Library()
RETRAIN = RetrainSolution(of=SOLVE, teacher=TEACHER, start=library_start)
EVALUATE, EXPORT = Evaluate(of=RETRAIN), Export(of=RETRAIN)
RANDOM = RandomNetworks()
STEPS = (
    DATA,
    TEACHER,
    SPACE,
    DISTILL,
    RATE,
    COST,
    SOLVE,
    ADDITIVITY,
    LIBRARY,
    RETRAIN,
    EVALUATE,
    EVALUATE_TEACHER,
    EXPORT,
    RANDOM,
)


def check_settings(settings: Settings, space: SearchSpace, costs: CostTable, teacher: dict[str, Any]) -> None:
    """Raise what is wrong with the blocks to distil and with the budgets; ``teacher``: as its step describes it."""
    for block in settings.distill.block_indices(len(space.body)):
        settings.distill.block_optim(block, len(space.body))
    check_budget(space, costs, limits_of(settings, teacher))


def rating_batches(job: DnaJob, settings: RateSettings | None = None) -> Batches:
    """The held-out images of the run's own rating settings, or the first of them as others say."""
    settings = settings or job.settings.rate
    images = job.get(DATA).rating.subset(range(settings.images))
    return job.materials.eval_batches(images, settings.batch_size, drop_last=True)


def _rivals(space: SearchSpace, costs: CostTable, limits: tuple[Limit, ...], choices: Sequence[Choice]) -> list[int]:
    """Where among ``choices`` other networks than the first stand that keep the limits, too."""
    layers = [space.architecture(choice).acting_layers for choice in choices]
    return [n for n, c in enumerate(choices) if layers[n] != layers[0] and keeps(space, costs, limits, c)]
