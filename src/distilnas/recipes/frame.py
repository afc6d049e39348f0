"""What every recipe stands in: steps, the ordered table of them that a recipe is, and the run that does them.

A recipe is a folder of this package: ``settings.py`` (the records of its configuration), ``steps.py`` (its steps, and
at the end their table) and ``recipe.py`` (what stands before and after them); its page is in ``distilnas.report``. A
step is one object::

    class Rate(Step[Job[Settings, Teaching], RatingTable]):
        name, verb, together = "rate", verbs.RATE, True

        def keys(self, job):  # all that its result depends on: settings, and other steps
            return {"distill": job.key(DISTILL), "rate": plain(job.settings.rate)}

        def work(self, job, folder):  # writes files into folder, returns what step.json says of them
            table = rate(job.get(DISTILL), job.get(TEACHER), ...)
            table.save(folder / "ratings.npz")
            return {"num_rated": table.num_rated}

        def load(self, job):  # what it hands to later steps, read back from those files
            return RatingTable.load(job.do(self).folder / "ratings.npz")

    RATE = Rate()

Where another step is asked for (``job.key``, ``job.result``, ``job.get``), it is done first unless its artefacts are
there with the same key; so any step can be asked for at any time, only what changed is done again, and a run continues
where it stopped. A step that one table has several times (networks trained alike, ratings by several metrics) is a
frozen dataclass whose fields tell one from the other, and ``place`` is its folder.

The table is a ``Recipe``; ``drive`` does all of it, or what leads to one verb. Its order is that of the work, of the
seconds in ``summary.json``, of the forecast and of the verbs. ``students`` and ``teaching`` have the steps that recipes
share; ``catalogue`` lists the recipes.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar

import yaml

from distilnas import checksums
from distilnas.config import flatten
from distilnas.errors import UsageError, nearest
from distilnas.export.card import card_paths, write_cards
from distilnas.files import read_json, remove_leftovers, write_json, write_text
from distilnas.recipes.materials import Materials
from distilnas.recipes.own import OwnTeacher
from distilnas.recipes.planning.forecast import StandIn, StepForecast
from distilnas.recipes.verbs import Verb
from distilnas.report import write_report
from distilnas.runtime import ranks
from distilnas.runtime.progress import Progress, SilentProgress
from distilnas.runtime.provenance import provenance
from distilnas.runtime.sinks import watched
from distilnas.runtime.store import Run, StepRecord, key_of

if TYPE_CHECKING:
    from distilnas.recipes.planning.bench import Plan
    from distilnas.recipes.planning.parts import Part, Planner


class RunSettings(Protocol):
    """Settings of a whole run."""

    @property
    def recipe(self) -> str: ...

    @property
    def seed(self) -> int: ...

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        ...

    def identity(self) -> dict[str, Any]:
        """The settings that a run folder is bound to; the others may change and only repeat what depends on them."""
        ...


S = TypeVar("S", bound=RunSettings)
V = TypeVar("V")
G = TypeVar("G")
T = TypeVar("T")
A = TypeVar("A", covariant=True)
J = TypeVar("J", bound="Job[Any, Any]", contravariant=True)


class Entry(ABC, Generic[J]):
    """A line of a recipe's table.

    ``verb``: the word of the command line that asks for it. ``timed``: whether the summary lists its seconds.
    """

    name: str
    verb: ClassVar[Verb | None] = None
    timed: bool = True

    def applies(self, settings: Any) -> bool:
        """Whether a run of these settings has it."""
        return True

    def place(self, job: J) -> str:
        """Its folder in the run; of a network's step among ``students``."""
        return self.name

    @abstractmethod
    def done(self, job: J) -> StepRecord:
        """Its record, once it is done; ask ``job.do``, which remembers it."""

    def prepare(self, plan: "Plan[Any, Any]") -> None:
        """Make what a forecast needs before anything is measured; raises what the run would raise before it begins."""

    def shares(self, plan: "Plan[Any, Any]") -> Mapping[str, float]:
        """What its probe measures, by name, and how much of the forecast's seconds each is worth."""
        return {}

    def probe(self, plan: "Plan[Any, Any]") -> StepForecast:
        """Its time, memory and disk; ask ``plan.forecast``, which remembers it."""
        return StepForecast(name=self.name)


class Step(Entry[J], Generic[J, A]):
    """One step of a run, which leaves an artefact; see the top of this file.

    ``together``: all processes that work on the run take part, else the first does it alone.
    """

    together: ClassVar[bool] = False

    @abstractmethod
    def keys(self, job: J) -> dict[str, Any]:
        """JSON values that its result depends on, besides the seed."""

    @abstractmethod
    def work(self, job: J, folder: Path) -> dict[str, Any]:
        """Write its files into ``folder``; returns the JSON values that its record keeps."""

    def load(self, job: J) -> A:
        """What it hands to later steps; ask ``job.get``, which remembers it."""
        raise NotImplementedError(f"the step {self.name} hands on its record alone")

    def stand_in(self, plan: "Plan[Any, Any]") -> "StandIn[Any]":
        """What takes its artefact's place in a forecast: of the right shapes, with random weights.

        Ask ``plan.get``, which remembers it.
        """
        return StandIn(artefact=None)

    def prepare(self, plan: "Plan[Any, Any]") -> None:
        """See ``Entry``: the stand-in."""
        plan.made(self)

    def done(self, job: J) -> StepRecord:
        """See ``Entry``: done now, unless it is finished with these keys."""
        place = self.place(job)
        inputs = json.loads(json.dumps(self.keys(job) | {"seed": job.materials.seed}))
        finished = job.run.finished(place, inputs)
        if finished:
            return finished
        job.progress.message(place)
        return job.run.step(place, inputs, partial(self._plain, job), together=self.together)

    def _plain(self, job: J, folder: Path) -> dict[str, Any]:
        """The work, its result as it will be read back."""
        return json.loads(json.dumps(self.work(job, folder)))


class Several(Entry[J]):
    """Steps that stand on one line of the table, as those of every network that is trained alike."""

    @abstractmethod
    def each(self, job: J) -> Sequence[Step[Any, Any]]:
        """The steps, in order."""

    def done(self, job: J) -> StepRecord:
        """One record for all: results and keys by folder, seconds together."""
        records = [job.do(step) for step in self.each(job)]
        return StepRecord(
            name=self.name,
            folder=job.run.folder,
            key=key_of({record.name: record.key for record in records}),
            result={record.name: record.result for record in records},
            seconds=sum(record.seconds for record in records),
            skipped=all(record.skipped for record in records),
        )


class Job(Generic[S, G]):
    """A run at work: what steps are given, and how they reach each other.

    ``materials``: images, device, progress. ``given``: what else the recipe works with (a teacher, a network).
    """

    def __init__(self, run: Run, settings: S, materials: Materials, given: G) -> None:
        self.run, self.settings, self.materials, self.given = run, settings, materials, given
        self.device, self.progress, self.preprocessing = materials.device, materials.progress, materials.preprocessing
        self._records: dict[str, StepRecord] = {}
        self._artefacts: dict[str, Any] = {}

    def do(self, entry: Entry[Any]) -> StepRecord:
        """The record of a step, which is done unless it is finished."""
        place = entry.place(self)
        if place not in self._records:
            self._records[place] = entry.done(self)
        return self._records[place]

    def key(self, entry: Entry[Any]) -> str:
        """What tells its result from others."""
        return self.do(entry).key

    def result(self, entry: Entry[Any]) -> dict[str, Any]:
        """What its record says."""
        return self.do(entry).result

    def get(self, step: Step[Any, T]) -> T:
        """What it hands on, read once."""
        place = step.place(self)
        if place not in self._artefacts:
            self._artefacts[place] = step.load(self)
        return self._artefacts[place]

    def finished(self, step: Step[Any, Any]) -> bool:
        """Whether the run has a record of it, of whatever key."""
        return (self.run.folder / step.place(self) / "step.json").exists()


class Outline(NamedTuple, Generic[G]):
    """What a forecast begins with: as ``Recipe.open``, and the number of ``classes`` to assume where nothing says."""

    materials: Materials
    given: G
    classes: int


@dataclass(frozen=True, kw_only=True)
class Recipe(Generic[S, G]):
    """An ordered table of ``steps``, and what stands before and after them.

    ``open(settings, folder, progress)``: materials and what else steps are given, before the run is begun.
    ``check``: raises what is known to be wrong before anything is written or trained; cheap for a run that was begun.
    ``finish``: from the records by name to what the run comes to; see ``conclude``.
    ``outline(settings, own, progress)``: what a forecast begins with, where files of weights need not be; None: the
    recipe cannot be forecast. ``finds``: the kind of architecture that it searches; None: it searches none.
    """

    name: str
    settings: type[S]
    steps: tuple[Entry[Any], ...]
    open: Callable[[S, Path, Progress | None], tuple[Materials, G]]
    check: Callable[[Job[S, G]], object]
    finish: Callable[[Job[S, G], Mapping[str, StepRecord]], dict[str, Any]]
    outline: Callable[[S, OwnTeacher | None, Progress | None], Outline[G]] | None = None
    finds: type | None = None

    @property
    def verbs(self) -> dict[str, Entry[Any]]:
        """The steps that can be asked for by a word of the command line."""
        return {entry.verb.name: entry for entry in self.steps if entry.verb}

    def run(
        self, settings: S, folder: Path, *, progress: Progress | None = None, until: str | None = None
    ) -> dict[str, Any]:
        """Do everything, or what leads to the verb ``until``, continuing where ``folder`` stands.

        Returns what ``finish`` gives, the content of ``summary.json``, or the step's result with ``until``.
        """
        materials, given = self.open(settings, folder, progress)
        return drive(self, settings, folder, materials, given, until=until)

    @property
    def parts(self) -> "Callable[[Planner, S], Sequence[Part[Any, Any]]] | None":
        """What a forecast is joined from: this run alone."""
        return None if self.outline is None else lambda planner, settings: [planner.part("", self, settings)]


@dataclass(frozen=True, kw_only=True)
class Series(Generic[V]):
    """Runs of other recipes, each in a folder of its own, that come to something together.

    ``do(settings, folder, progress)`` runs them all. ``refuse(settings, folder, verb)``: what to say to whoever asks
    for a single step. ``parts``: what a forecast is joined from; None: it cannot be forecast.
    """

    name: str
    settings: type[V]
    do: Callable[[V, Path, Progress], dict[str, Any]]
    refuse: Callable[[V, Path, str], str]
    parts: "Callable[[Planner, V], Sequence[Part[Any, Any]]] | None" = None
    finds: None = None

    def run(
        self, settings: V, folder: Path, *, progress: Progress | None = None, until: str | None = None
    ) -> dict[str, Any]:
        """Run everything, continuing where ``folder`` stands; returns the content of its ``summary.json``."""
        if until is not None:
            raise UsageError(self.refuse(settings, folder, until))
        return self.do(settings, folder, progress or SilentProgress())


def drive(
    recipe: Recipe[S, G],
    settings: S,
    folder: Path,
    materials: Materials,
    given: G,
    *,
    until: str | Entry[Any] | None = None,
) -> dict[str, Any]:
    """Do all steps of the recipe in ``folder``, or those that lead to ``until``: a verb, or any step that it allows."""
    if isinstance(until, str) and until not in recipe.verbs:
        raise UsageError(f"the recipe {settings.recipe!r} has no step {until!r}; {nearest(until, recipe.verbs)}")
    with Run(folder) as run, watched(folder, materials.runtime.log, materials.progress) as materials.progress:
        job = Job(run, settings, materials, given)
        begun = (folder / "run.json").exists()
        if not begun:
            recipe.check(job)
        run.claim(flatten(settings.identity()))
        if begun:
            recipe.check(job)
        write_config(folder, settings.to_dict())
        if until is not None:
            record = job.do(recipe.verbs[until] if isinstance(until, str) else until)
            return record.result | {"folder": str(record.folder), "skipped": record.skipped}
        done = recipe.finish(job, {entry.name: job.do(entry) for entry in recipe.steps if entry.applies(settings)})
        materials.progress.finish(done)
        if unchecked := run.check():
            job.progress.message(f"written before files had sums, unchecked: {', '.join(unchecked)}")
        return done


def conclude(
    job: Job[Any, Any], recipe: Recipe[Any, Any], records: Mapping[str, StepRecord], found: Mapping[str, Any]
) -> dict[str, Any]:
    """``summary.json`` of a run and its report: what was ``found``, between what every summary says."""
    summary = {
        "run": job.run.folder.name,
        "recipe": job.settings.recipe,
        **found,
        "seconds": seconds_of(recipe, records, digits=2),
        "provenance": provenance_of(job, job.settings),
    }
    write_summary(job.run.folder, summary, job.progress)
    return summary


def seconds_of(recipe: Recipe[Any, Any], records: Mapping[str, StepRecord], *, digits: int) -> dict[str, float]:
    """Seconds of the steps, in the table's order."""
    timed = (entry.name for entry in recipe.steps if entry.timed and entry.name in records)
    return {name: round(records[name].seconds, digits) for name in timed}


def provenance_of(job: Job[Any, Any], settings: Any) -> dict[str, Any]:
    """Versions, device, and the seed and hash of the settings."""
    return provenance(seed=job.settings.seed, config_hash=key_of(settings.to_dict()), device=job.device.name)


def write_config(folder: Path, settings: dict[str, Any]) -> None:
    """``config.yaml``; what killed writes left in the folder is removed."""
    if ranks.leads():
        remove_leftovers(folder)
        write_text(folder / "config.yaml", yaml.safe_dump(settings, sort_keys=False))
        checksums.note(folder, "run.json", "config.yaml")


def write_results(folder: Path, **files: Any) -> None:
    """Write each value as NAME.json."""
    if ranks.leads():
        remove_leftovers(folder)
        for name, value in files.items():
            write_json(folder / f"{name}.json", value)
        checksums.note(folder, *(f"{name}.json" for name in files))


def write_summary(folder: Path, summary: dict[str, Any], progress: Progress) -> None:
    """``summary.json`` and the report, unless both are there and nothing changed; pages that students lack."""
    path = folder / "summary.json"
    if not ranks.leads():
        return
    pages = card_paths(folder, summary)
    checksums.settle(folder, *pages)
    write_cards(folder, summary)
    intact = all(checksums.is_noted(folder, name) for name in ("report.html", path.name))
    if not intact or read_json(path) != summary:
        (folder / "report.html").unlink(missing_ok=True)  # killed from here on, it is made anew
        write_json(path, summary)
        checksums.note(folder, path.name)
        progress.message("report")
        write_report(folder)
    checksums.settle(folder, *pages, path.name, "report.html")
