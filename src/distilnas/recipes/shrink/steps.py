"""The steps of a shrinking run, and at the end their table; ``recipe`` has what stands before and after them."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from distilnas.data import ImageSet
from distilnas.errors import InfeasibleError
from distilnas.files import write_json
from distilnas.latency.keep import LATENCY, Kept, latency_limit
from distilnas.networks import save_student
from distilnas.networks.chain import ChainNet
from distilnas.recipes.frame import Several, Step
from distilnas.recipes.planning.disk import weights_mb
from distilnas.recipes.planning.forecast import StandIn, StepForecast, Work, joined
from distilnas.recipes.planning.steps import testing_work
from distilnas.recipes.settings import plain
from distilnas.recipes.shrink import probes
from distilnas.recipes.shrink.budgets import Budget, in_words, limits_in, slug
from distilnas.recipes.shrink.cells import TrainCells
from distilnas.recipes.shrink.recovering import Recover, TryOut, passes
from distilnas.recipes.shrink.settings import ShrinkSettings
from distilnas.recipes.shrink.students import (
    AtWork,
    Draft,
    ShrinkJob,
    ShrinkPlan,
    read_student,
    timm_name,
    wants,
    words,
)
from distilnas.recipes.shrink.telling import Compare, EvaluateParent, Explore, save_answers
from distilnas.recipes.shrink.timed import MeasureLatency, kept_inside, latency_record
from distilnas.recipes.students import DATA, Export, beside
from distilnas.recipes.teaching import TEACHER, WEIGHTS
from distilnas.runtime.progress import Progress
from distilnas.runtime.seeds import derive_rng
from distilnas.solve import Limit
from distilnas.supernet import Supernet
from distilnas.surgery.alternatives import Alternative, alternatives, on_paper
from distilnas.surgery.build import build_library
from distilnas.surgery.cells import cells_of
from distilnas.surgery.chain import Unit, chain_of, ends_of
from distilnas.surgery.choose import (
    Assembled,
    Chosen,
    best_choices,
    best_of_kinds,
    choose,
    different_choices,
    measure,
    with_sides,
)
from distilnas.surgery.library import Choice, Library, Trunk
from distilnas.surgery.peaks import PEAK, Peaks, peak_limit, without_peak
from distilnas.surgery.sides import at_side, smaller_sides
from distilnas.surgery.stored import load_library, save_library
from distilnas.surgery.students import parent_of, student_net
from distilnas.tables.measures import ADDITIVE, Number
from distilnas.teachers.units import propose_units

_BATCH = 125
_FEWEST_BATCHES = 4
_DISTANCE = 2  # blocks in which alternatives to the best differ from it
_SEARCHED = "searched"
_FEW_IMAGES = 500  # for students that are only compared


@dataclass(frozen=True, kw_only=True, eq=False)
class Shelf:
    """The library at work: every student as searches, and the teacher's own costs."""

    library: Library
    trunks: tuple[Trunk, ...]
    teacher: dict[str, int]

    @cached_property
    def peaks(self) -> Peaks:
        """The peak memory of every student."""
        return Peaks(self.library)

    def within(self, limits: Sequence[Limit]) -> tuple[Trunk, ...]:
        """The searches without students whose peak memory is over its limit; ``InfeasibleError`` where none is left."""
        limit = peak_limit(limits)
        return self.peaks.within(self.trunks, limit) if limit else self.trunks

    def keeps(self, one: Chosen, limits: Sequence[Limit]) -> bool:
        """Whether a student keeps all limits."""
        return all(limit.allows(self._cost(one, limit.cost)) for limit in limits)

    def _cost(self, one: Chosen, name: str) -> Number:
        return self.peaks.of(one.choice) if name == PEAK else one.solution.costs[name]


class MakeLibrary(Step[ShrinkJob, Shelf]):
    """Every cut of the teacher, repaired in closed form and rated alone in it."""

    name = "library"

    def keys(self, job: ShrinkJob) -> dict[str, Any]:
        keys = {"teacher": job.key(TEACHER), "library": plain(job.settings.library)}
        return keys | ({"cells": job.key(CELLS)} if CELLS.applies(job.settings) else {})

    def work(self, job: ShrinkJob, folder: Path) -> dict[str, Any]:
        settings, units = job.settings.library, _units(job)
        calibration, rating = calibration_batches(job), rating_batches(job)[0]
        sides = _sides(job)
        library = _library(units, _supernet(job), job.settings, sides, calibration, rating, job.progress)
        save_library(folder / "library.npz", library)
        trunks = library.trunks()
        rated = sum(len(rated) for parts in library.widths for rated in parts)
        rated += sum(map(len, (library.drops, library.exits, library.sides, library.replacements)))
        return {
            "num_candidates": sum(len(block) for block in trunks[0].problem.blocks),
            "num_rated": rated,
            "num_images": settings.rating_images,
            "num_architectures": str(sum(trunk.problem.num_architectures for trunk in trunks)),
            "teacher": _teacher_costs(library, trunks),
        }

    def load(self, job: ShrinkJob) -> Shelf:
        record = job.do(self)
        library = load_library(record.folder / "library.npz", _units(job))
        return Shelf(library=library, trunks=library.trunks(), teacher=record.result["teacher"])

    def stand_in(self, plan: ShrinkPlan) -> StandIn[Shelf]:
        settings, images = plan.settings.library, plan.images
        units, cutting = plan.timed(partial(_chain, plan, plan.get(TEACHER).model.state_dict()))
        library, making = probes.library_from_few(
            partial(_library, units, _supernet(plan), plan.settings, _sides(plan)),
            min(settings.images, images.count("train")),
            rating_sizes(images.count("rating")),
            resolution=plan.preprocessing.resolution,
            device=plan.device,
        )
        trunks, adding = plan.timed(library.trunks)
        shelf = Shelf(library=library, trunks=trunks, teacher=_teacher_costs(library, trunks))
        seconds = making + 2 * (cutting + adding)  # made, and read back
        return StandIn(artefact=shelf, result={"teacher": shelf.teacher}, seconds=seconds)

    def probe(self, plan: ShrinkPlan) -> StepForecast:
        used = min(plan.settings.library.images, plan.images.count("train")) + plan.images.count("rating")
        load, start = plan.bench.loading(None).of(used)
        work = Work(compute=plan.made(self).seconds, load=load, fixed=start)
        return StepForecast(name=self.name, works=(work,), disk_mb=probes.library_mb(plan.get(self).library))


@dataclass(frozen=True, kw_only=True)
class Choose(Step[ShrinkJob, Draft]):
    """The student of a ``budget``: the best solutions put together and measured, the best of these kept."""

    name: str = "choose"
    budget: tuple[tuple[str, str | int], ...]

    def place(self, job: ShrinkJob) -> str:
        return f"students/{slug(dict(self.budget))}/{self.name}"

    def keys(self, job: ShrinkJob) -> dict[str, Any]:
        limits = {limit.cost: [limit.min, limit.max] for limit in self.limits(job)}
        keys = {"library": job.key(LIBRARY), "limits": limits, "assembled": job.settings.choice.assembled}
        keys["tried"] = job.settings.choice.tried
        return keys | ({"latency": job.key(LATENCIES)} if LATENCY in limits else {})

    def limits(self, job: ShrinkJob) -> tuple[Limit, ...]:
        """The budget's; shares of the teacher's latency need it to be measured."""
        budget, teacher = dict(self.budget), job.result(LIBRARY)["teacher"]
        timed = {LATENCY: job.result(LATENCIES)["teacher_ms"][0]} if LATENCY in budget else {}
        return limits_in(budget, teacher | timed)

    def work(self, job: ShrinkJob, folder: Path) -> dict[str, Any]:
        shelf, few, limits = job.get(LIBRARY), calibration_batches(job, _FEW_IMAGES), self.limits(job)
        kept = None
        if latency_limit(limits):
            solved, kinds, kept = _timed_candidates(job, shelf, limits)
        else:
            solved, kinds = _candidates(shelf, limits, job.settings.choice.assembled)
        built = choose(shelf.library, [chosen for chosen, _ in kinds], few, *rating_batches(job))
        names = {chosen.choice: kind for chosen, kind in kinds}
        rows = [{"kind": names[one.chosen.choice], **_row(shelf, one)} for one in built]
        found = {"budget": dict(self.budget), "limits": {limit.cost: [limit.min, limit.max] for limit in limits}}
        write_json(folder / "choice.json", found | {"assembled": rows})
        best = [one.chosen for one in _of_each_kind(built)[: job.settings.choice.tried]]
        finalists = []
        for i, one in enumerate(choose(shelf.library, best, calibration_batches(job), *rating_batches(job))):
            place = str(i) if i else "."
            save_student(folder / place, _student(job, shelf, one), **words(job, one.chosen.choice.side))
            row = {"folder": place, "kind": names[one.chosen.choice], **_row(shelf, one)}
            row |= {"as_rated": one.chosen.choice == solved.choice}
            if kept:
                row["latency"] = latency_record(kept, one.chosen, limits, job.get(LATENCIES).table)
            finalists.append(row)
        found |= {"optimal": solved.solution.optimal, **finalists[0]}
        _tell(job, dict(self.budget), found)
        return found | {"alternatives": [row for row in rows if row["kind"] != _SEARCHED], "finalists": finalists}

    def stand_in(self, plan: ShrinkPlan) -> StandIn[Draft]:
        """As many candidates as the run finds, and the best as a network.

        By the ratings of random weights an early end is as good as anything; those that are searched for are taken to
        have none, where the budget allows that.
        """
        shelf, number = plan.get(LIBRARY), plan.settings.choice.assembled
        limits = limits_in(_guessed(dict(self.budget)), shelf.teacher)
        (solved, kinds), seconds = plan.timed(partial(_candidates, shelf, limits, number))
        with suppress(InfeasibleError):
            whole = best_choices(shelf.within(limits)[:1], without_peak(limits), number)
            solved = whole[0]
            kinds = [*((one, _SEARCHED) for one in whole), *(pair for pair in kinds if pair[1] != _SEARCHED)]
        few = [probes.noise(2, resolution=plan.preprocessing.resolution, device=plan.device)]
        (built,) = choose(shelf.library, [solved], few, few)
        with TemporaryDirectory() as folder:
            save_student(Path(folder), _student(plan, shelf, built), **words(plan, built.chosen.choice.side))
            student = read_student(plan, Path(folder))
        costs = solved.solution.costs
        plan.assumptions.append(
            f"{in_words(dict(self.budget))}: the student is not known before the library; taken is one of "
            f"{costs['macs']:,} MACs and {costs['params']:,} parameters."
        )
        return StandIn(artefact=Draft(candidates=tuple(one for one, _ in kinds), student=student), seconds=seconds)

    def probe(self, plan: ShrinkPlan) -> StepForecast:
        draft, images = plan.get(self), min(plan.settings.library.images, plan.images.count("train"))
        students = {min(_FEW_IMAGES, images): len(draft.candidates), images: 1}
        if images <= _FEW_IMAGES:
            students = {images: len(draft.candidates) + 1}
        some = [one for steps in budget_steps(plan.settings) for one in plan.get(steps.choose).candidates]
        return _assembling(plan, "students", some).step(
            self.name, students, fixed=plan.made(self).seconds, disk_mb=weights_mb(draft.student)
        )


@dataclass(frozen=True, kw_only=True)
class EvaluateStudent(Step[ShrinkJob, None]):
    """Test a student before and after its recovery on images never used before."""

    name: str = "evaluate"
    of: Recover

    def place(self, job: ShrinkJob) -> str:
        return beside(self.of.place(job), self.name)

    def keys(self, job: ShrinkJob) -> dict[str, Any]:
        return {"recover": job.key(self.of), "data": job.key(DATA), "kept": "predictions"}

    def work(self, job: ShrinkJob, folder: Path) -> dict[str, Any]:
        folders = self.of.of.student(job), job.do(self.of).folder
        students = [read_student(job, folder) for folder in folders]
        test = job.get(DATA).test
        (_, before), (found, after) = (
            job.materials.answers(one, test, preprocessing=wants(job, one)) for one in students
        )
        save_answers(folder, found, test)
        return after | {"top1_before_training": before["top1"]}

    def shares(self, plan: ShrinkPlan) -> dict[str, float]:
        return {f"evaluate {slug(dict(self.of.of.budget))}": 1}

    def probe(self, plan: ShrinkPlan) -> StepForecast:
        tested = passes(plan, self.of.of)
        works = (testing_work(plan.bench, tested, "test", 2),)
        return StepForecast(name=self.name, works=works, memory_mb=plan.bench.memory(tested))


class Curve(Step[ShrinkJob, list[tuple[str, Chosen]]]):
    """Students at several budgets before any training, and what anybody would try first, on held-out images."""

    name = "curve"

    def applies(self, settings: ShrinkSettings) -> bool:
        return settings.choice.curve > 0

    def keys(self, job: ShrinkJob) -> dict[str, Any]:
        return {"library": job.key(LIBRARY), "points": job.settings.choice.curve}

    def work(self, job: ShrinkJob, folder: Path) -> dict[str, Any]:
        shelf = job.get(LIBRARY)
        points = self._points(shelf, job.settings.choice.curve)
        few, (held_out, labels) = calibration_batches(job, _FEW_IMAGES), rating_batches(job)
        rows = []
        with job.progress.task("students before training", len(points)) as task:
            for kind, one in points:
                built = choose(shelf.library, [one], few, held_out, labels)
                rows.append({"kind": kind, **_row(shelf, built[0])})
                task.advance()
        write_json(folder / "curve.json", rows)
        teacher = measure(shelf.library, [unit.module for unit in shelf.library.units], held_out, labels)
        return {"rows": rows, "teacher": {**shelf.teacher, **asdict(teacher)}}

    def stand_in(self, plan: ShrinkPlan) -> StandIn[list[tuple[str, Chosen]]]:
        points, seconds = plan.timed(partial(self._points, plan.get(LIBRARY), plan.settings.choice.curve))
        return StandIn(artefact=points, seconds=seconds)

    def probe(self, plan: ShrinkPlan) -> StepForecast:
        made, few = plan.made(self), min(_FEW_IMAGES, plan.images.count("train"))
        assembling = _assembling(plan, self.name, [one for _, one in made.artefact])
        return assembling.step(self.name, {few: len(made.artefact)}, fixed=made.seconds)

    def _points(self, shelf: Shelf, number: int) -> list[tuple[str, Chosen]]:
        """Students with their kinds."""
        points = [(_SEARCHED, one) for one in _along(shelf, number)]
        return points + [(one.kind, one.chosen) for one in alternatives(shelf.library, shelf.trunks)]


@dataclass(frozen=True, kw_only=True)
class OfEveryBudget(Several[ShrinkJob]):
    """The steps of this ``name`` of all budgets."""

    name: str

    def each(self, job: ShrinkJob) -> Sequence[Step[Any, Any]]:
        return self._steps(job.settings)

    def _steps(self, settings: ShrinkSettings) -> list[Step[Any, Any]]:
        return [getattr(steps, self.name) for steps in budget_steps(settings)]

    def prepare(self, plan: ShrinkPlan) -> None:
        for step in self._steps(plan.settings):
            step.prepare(plan)

    def shares(self, plan: ShrinkPlan) -> dict[str, float]:
        return {name: share for step in self._steps(plan.settings) for name, share in step.shares(plan).items()}

    def probe(self, plan: ShrinkPlan) -> StepForecast:
        return joined(self.name, [plan.forecast(step) for step in self._steps(plan.settings)])


@dataclass(frozen=True, kw_only=True)
class BudgetSteps:
    """What is done for one budget."""

    choose: Choose
    trial: TryOut
    recover: Recover
    evaluate: EvaluateStudent
    compare: Compare
    export: Export


def budget_steps(settings: ShrinkSettings) -> list[BudgetSteps]:
    """One record of steps a budget."""
    found = []
    for budget in settings.budgets:
        chosen = Choose(budget=tuple(budget.items()))
        tried = TryOut(of=chosen, budget=chosen.budget)
        recovered = Recover(of=tried)
        tested, exported = EvaluateStudent(of=recovered), Export(of=recovered, read=read_student)
        compared = Compare(of=tested, teacher=EVALUATE_TEACHER)
        found.append(
            BudgetSteps(
                choose=chosen, trial=tried, recover=recovered, evaluate=tested, compare=compared, export=exported
            )
        )
    return found


CELLS, LIBRARY, CURVE, EVALUATE_TEACHER = TrainCells(), MakeLibrary(), Curve(), EvaluateParent()
LATENCIES = MeasureLatency(of=LIBRARY)
EXPLORE = Explore(of=LIBRARY, timed=LATENCIES)
CHOICES = OfEveryBudget(name="choose")
TRIALS = OfEveryBudget(name="trial")
RECOVERIES = OfEveryBudget(name="recover")
TESTS = OfEveryBudget(name="evaluate")
COMPARISONS = OfEveryBudget(name="compare")
EXPORTS = OfEveryBudget(name="export")
STEPS = (
    DATA,
    TEACHER,
    CELLS,
    LIBRARY,
    LATENCIES,
    CHOICES,
    CURVE,
    EXPLORE,
    TRIALS,
    RECOVERIES,
    TESTS,
    EVALUATE_TEACHER,
    COMPARISONS,
    EXPORTS,
)


def calibration_batches(job: ShrinkJob, images: int | None = None) -> list[Tensor]:
    """Training images without labels, a fixed draw, as the teacher wants them."""
    train = job.get(DATA).train
    number = min(images or job.settings.library.images, len(train))
    drawn = np.sort(derive_rng(job.settings.seed, 14).permutation(len(train))[:number])
    return _tensors(job, train.subset(drawn))[0]


def rating_batches(job: ShrinkJob) -> tuple[list[Tensor], Tensor]:
    """Held-out training images, in four batches at least for the ratings' errors, and their labels."""
    images = job.get(DATA).rating
    return _tensors(job, images, rating_sizes(len(images))[0])


def rating_sizes(images: int) -> list[int]:
    """Images of the batches."""
    size = min(_BATCH, images // _FEWEST_BATCHES)
    return [min(size, images - begun) for begun in range(0, images, size)]


def _tensors(job: ShrinkJob, images: ImageSet, batch: int = _BATCH) -> tuple[list[Tensor], Tensor]:
    found = list(job.materials.eval_batches(images, batch))
    return [job.device.images(x) for x, _ in found], torch.cat([y for _, y in found])


def _units(job: ShrinkJob) -> tuple[Unit, ...]:
    """The teacher's units, of a copy without the device's own layers: a student is made of its parent's."""
    return _chain(job, load_file(job.do(TEACHER).folder / WEIGHTS))


def _chain(job: AtWork, weights: Mapping[str, Tensor]) -> tuple[Unit, ...]:
    model, resolution = job.given.bare(len(job.result(DATA)["classes"])), job.preprocessing.resolution
    model.load_state_dict(weights)
    model = model.to(job.device.fabric.device).eval()
    return chain_of(model, ends_of(propose_units(model, resolution)), (3, resolution, resolution))


def _sides(job: AtWork) -> tuple[int, ...]:
    """Sides of images that students may see; a transform of the user's makes images of one side."""
    if job.preprocessing.own is not None:
        return ()
    return tuple(smaller_sides(job.preprocessing.resolution, job.settings.library.resolutions))


def _supernet(job: AtWork) -> Supernet | None:
    """Of new layers, where the run has them."""
    return job.get(CELLS) if CELLS.applies(job.settings) else None


def _library(
    units: tuple[Unit, ...],
    supernet: Supernet | None,
    settings: ShrinkSettings,
    sides: Sequence[int],
    calibration: Sequence[Tensor],
    rating: Sequence[Tensor],
    progress: Progress,
) -> Library:
    """All that the settings let ``units`` become, cells of the ``supernet`` among them, and students for images of
    ``sides`` pixels."""
    few = calibration[: _FEW_IMAGES // _BATCH]
    library = build_library(
        units,
        calibration,
        rating,
        ratios=(1.0, *sorted(settings.library.ratios, reverse=True)),
        linear=settings.library.linear,
        cells=cells_of(supernet, units, few) if supernet else {},
        dtype=torch.bfloat16 if settings.runtime.precision == "bf16-mixed" else torch.float32,
        progress=progress,
    )
    return with_sides(library, sides, few, rating)


def _candidates(shelf: Shelf, limits: Sequence[Limit], number: int) -> tuple[Chosen, list[tuple[Chosen, str]]]:
    """The best by rating, and with their kinds what it is held against: ``number`` solutions, it and the best of each
    kind among them, and what anybody would try first.

    Where the teacher itself keeps the limits it stands alone: nothing can be nearer to it.
    """
    whole = on_paper(shelf.trunks[0], shelf.library.whole())
    if whole and shelf.keeps(whole, limits):
        return whole, [(whole, _SEARCHED)]
    trunks, added = shelf.within(limits), without_peak(limits)
    solved = best_of_kinds(trunks, added)
    solved = _distinct([*solved, *different_choices(trunks, added, number, _DISTANCE)])[:number]
    known = {one.choice for one in solved}
    simple = [one for one in _nearest(shelf, limits) if one.chosen.choice not in known]
    return solved[0], [*((one, _SEARCHED) for one in solved), *((one.chosen, one.kind) for one in simple)]


def _guessed(budget: Budget) -> Budget:
    """The budget as a forecast takes it, which times nothing: a share of the teacher's latency for one of its MACs."""
    rest, latency = {name: value for name, value in budget.items() if name != LATENCY}, str(budget.get(LATENCY, ""))
    return {"macs": latency, **rest} if latency.endswith("%") else rest


def _timed_candidates(
    job: ShrinkJob, shelf: Shelf, limits: Sequence[Limit]
) -> tuple[Chosen, list[tuple[Chosen, str]], Kept]:
    """``_candidates`` of which all were measured inside the limit on latency."""
    timed, number = job.get(LATENCIES), job.settings.choice.assembled
    shelf, words = replace(shelf, trunks=timed.trunks), {}

    def propose(limits: Sequence[Limit]) -> list[Chosen]:
        _, kinds = _candidates(shelf, limits, number)
        words.update({chosen.choice: kind for chosen, kind in kinds})
        return [chosen for chosen, _ in kinds]

    kept = kept_inside(shelf.library, replace(timed, trunks=shelf.within(limits)), limits, propose, job.progress)
    rows = [(one.chosen, words.get(one.chosen.choice, _SEARCHED)) for one in kept.inside]
    searched, simple = ([row for row in rows if (row[1] == _SEARCHED) is own] for own in (True, False))
    slowest = {kind: chosen for chosen, kind in sorted(simple, key=lambda row: row[0].solution.costs[LATENCY])}
    kinds = [*searched[:number], *((chosen, kind) for kind, chosen in slowest.items())]
    return rows[0][0], kinds, kept


def _teacher_costs(library: Library, trunks: Sequence[Trunk]) -> dict[str, int]:
    whole = on_paper(trunks[0], library.whole())
    assert whole is not None
    return {name: int(whole.solution.costs[name]) for name in ADDITIVE} | {PEAK: Peaks(library).of(library.whole())}


def _assembling(plan: ShrinkPlan, name: str, some: Sequence[Chosen]) -> probes.Assembling:
    few = min(_FEW_IMAGES, plan.images.count("train"))
    return probes.assembling(plan.bench, name, plan.get(LIBRARY).library, some, plan.get(TEACHER).model, few)


def _student(job: AtWork, shelf: Shelf, one: Assembled) -> ChainNet:
    teacher, side = job.settings.teacher, one.chosen.choice.side
    resolution = side or job.preprocessing.resolution
    parent = parent_of(
        at_side(shelf.library.units, side),
        (3, resolution, resolution),
        model=timm_name(job),
        num_classes=len(job.get(DATA).train.classes),
        model_kwargs=teacher.model_kwargs,
    )
    return student_net(parent, one.modules)


def _along(shelf: Shelf, points: int) -> list[Chosen]:
    """The best students at ``points`` budgets of MACs, evenly from the teacher's to the least."""
    blocks = shelf.trunks[0].problem.blocks
    costs = [min(int(cell.costs["macs"].min()) for cell in block.cells) for block in blocks]
    least, most = sum(costs), shelf.teacher["macs"]
    shares = np.linspace(1.0, max(0.15, least / most), points + 1)[1:]
    found = [
        best_choices(shelf.trunks, limits_in({"macs": int(share * most) + 1}, shelf.teacher))[0] for share in shares
    ]
    return _distinct(found)


def _distinct(some: Sequence[Chosen]) -> list[Chosen]:
    """Each student once, in the order in which they come first."""
    found: dict[Choice, Chosen] = {}
    for one in some:
        found.setdefault(one.choice, one)
    return list(found.values())


def _of_each_kind(some: Sequence[Assembled]) -> list[Assembled]:
    """Of students in their order the first of each kind: what ends behind one unit and sees images of one side."""
    found: dict[tuple[int, int | None], Assembled] = {}
    for one in some:
        found.setdefault((len(one.chosen.choice.kept), one.chosen.choice.side), one)
    return list(found.values())


def _nearest(shelf: Shelf, limits: Sequence[Limit]) -> list[Alternative]:
    """Of what anybody would try, of each kind the one inside the limits that has most MACs."""
    best: dict[str, Alternative] = {}
    for one in alternatives(shelf.library, shelf.trunks):
        macs, known = one.chosen.solution.costs["macs"], best.get(one.kind)
        if shelf.keeps(one.chosen, limits) and (known is None or macs > known.chosen.solution.costs["macs"]):
            best[one.kind] = one
    return list(best.values())


def _kept(choice: Choice) -> list[list[int] | str | None]:
    return [list(kept) if isinstance(kept, tuple) else kept for kept in choice.kept]


def _row(shelf: Shelf, one: Assembled) -> dict[str, Any]:
    solution = one.chosen.solution
    costs = {name: int(solution.costs[name]) for name in ADDITIVE} | {PEAK: shelf.peaks.of(one.chosen.choice)}
    rated = {"rating": solution.rating, "rating_stderr": shelf.library.rating_of(one.chosen.choice).stderr}
    choice = one.chosen.choice
    return {**rated, **costs, "kept": _kept(choice), "early": choice.early, "side": choice.side, **asdict(one.measured)}


def _tell(job: ShrinkJob, budget: Budget, found: Mapping[str, Any]) -> None:
    how = "the best by rating" + (", proved" if found["optimal"] else "")
    how += " under the estimate of latency" if "latency" in found else ""
    how = how if found["as_rated"] else f"{found['kind']}, measured better than the best by rating"
    size = f"{found['macs'] / 1e6:.2f} M MACs, {found['params']:,} parameters"
    size += f", {found[PEAK]:,} bytes of activations" if PEAK in budget else ""
    size += f", images of {found['side']} pixels" if found["side"] else ""
    if timed := found.get("latency"):
        size += f", {timed['measured_ms']:.3g} ms ({timed['ratio'][0]:.0%} of the teacher's)"
    right = "" if found["top1"] is None else f"; held-out top-1 {found['top1']:.1f} +- {found['top1_stderr']:.1f} %"
    job.progress.message(f"  {in_words(budget)}: {size}; {how}{right} untrained")
