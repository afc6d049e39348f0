"""Artefacts of a run folder -> one checked record. What a later step writes may be missing; nothing may be damaged."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from distilnas.checksums import require_intact
from distilnas.errors import UsageError
from distilnas.files import read_json
from distilnas.records.features import Features, read_features
from distilnas.records.files import as_record, damaged, read_part, read_text, recipe_of
from distilnas.records.solution import Additivity, Fronts, Held, Solved
from distilnas.records.steps import (
    Data,
    DistillInputs,
    History,
    Measured,
    Preprocessing,
    Summary,
    Teacher,
    TrainedNetwork,
)
from distilnas.space import Architecture, SearchSpace
from distilnas.space.darts import AnyArchitecture, parse_architecture
from distilnas.tables import CostTable, RatingTable
from distilnas.tables.measures import shown

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """All that a report shows of a search or of one network's training; None or empty where a step has not finished.

    ``network``: what a run of the recipe ``retrain`` trains. ``students``: training logs by architecture hash;
    ``measured``: what the trained ones are and reach. ``seconds``: by step.
    """

    folder: Path
    recipe: str
    config: str | None
    data: Data | None
    teacher: Teacher | None
    teacher_history: History | None
    network: TrainedNetwork | None
    space: SearchSpace | None
    distill: History | None
    distill_inputs: DistillInputs | None
    ratings: RatingTable | None
    costs: CostTable | None
    solved: Solved | None
    front: Fronts
    additivity: Additivity | None
    features: Features | None
    students: dict[str, History]
    measured: dict[str, Measured]
    summary: Summary | None
    seconds: dict[str, float]

    def __post_init__(self) -> None:
        if self.space is None:
            if self.ratings or self.costs or self.solved or self.front:
                raise UsageError(
                    f"{self.folder} has later steps but no space/space.json. Run `distilnas distill` on it again."
                )
            return
        if self.teacher and len(self.teacher.blocks) != len(self.space.body):
            raise UsageError(
                f"{self.folder}: the teacher has {len(self.teacher.blocks)} blocks, the space "
                f"{len(self.space.body)}; both must come from one run. Run `distilnas distill` on it again."
            )
        for table in (self.ratings, self.costs):
            if table:
                table.check(self.space)
        self._check_choices(self.space)

    def _check_choices(self, space: SearchSpace) -> None:
        answers = (self.solved.solution, *self.solved.alternatives) if self.solved else ()
        for found in (*answers, *(point for points in self.front.values() for point in points)):
            space.architecture(found.choice)

    @property
    def search(self) -> bool:
        """Whether the network is searched for under a teacher; else a given one is trained."""
        return self.recipe != "retrain"

    @cached_property
    def architecture(self) -> AnyArchitecture | None:
        """The solver's network, or the one that the run trains."""
        return parse_architecture(self.network.architecture) if self.network else self.solution

    @cached_property
    def solution(self) -> Architecture | None:
        """The solver's network."""
        return self.space.architecture(self.solved.solution.choice) if self.space and self.solved else None

    @property
    def contradicted(self) -> Held | None:
        """What contradicts the solution, where assembled networks do."""
        held = self.additivity.held if self.additivity else None
        return held if held and held.contradicted else None

    @property
    def preprocessing(self) -> Preprocessing | None:
        """The teacher's or, where there is none, the trained network's."""
        return self.teacher.preprocessing if self.teacher else self.network.preprocessing if self.network else None

    @property
    def resolution(self) -> int | None:
        """The input's side in pixels."""
        return (
            self.preprocessing.resolution if self.preprocessing else self.network.resolution if self.network else None
        )

    @property
    def student_hash(self) -> str:
        """Names the retrained network among ``students``; empty before the solve."""
        if self.summary:
            return self.summary.student.hash
        return self.architecture.fingerprint if self.architecture else ""

    @property
    def shown_costs(self) -> tuple[str, ...]:
        """The costs of the student that people look at: the usual ones and those with a budget."""
        student, budgets = self.student_numbers, self.solved.budgets if self.solved else {}
        return shown(student.costs, budgets) if student else ()

    @property
    def teacher_numbers(self) -> Measured | None:
        """The teacher as the summary measured it, else as its step did."""
        if self.summary:
            return self.summary.teacher
        return self.teacher.measured if self.teacher else None

    @property
    def student_numbers(self) -> Measured | None:
        """The student as the summary measured it, else as its own steps did, else the costs of the solution."""
        if self.summary:
            return self.summary.student
        costs = self.solved.solution.costs if self.solved else {}
        solved = Measured(costs=costs) if costs else None
        return self.measured.get(self.student_hash, solved)


def read_run(folder: Path) -> RunRecord:
    """Read a run folder; raises ``UsageError`` when it is none or an artefact is damaged or does not fit."""
    if not (folder / "run.json").is_file():
        raise UsageError(f"{folder} is not a run folder: it has no run.json. Give the folder of a run with --run.")
    require_intact(folder)
    space = _space(folder / "space" / "space.json")
    solved = read_part(folder / "solve" / "solution.json", Solved)
    front = read_part(folder / "solve" / "front.json", Fronts) or {}
    if space:
        solved, front = _with_heads(space, solved, front)
    summary = read_part(folder / "summary.json", Summary)
    if summary and solved and summary.student.architecture not in (None, solved.solution.architecture):
        summary = None  # of the student before: another budget was solved since, and its student is not finished
    return RunRecord(
        folder=folder,
        recipe=recipe_of(folder),
        config=read_text(folder / "config.yaml"),
        data=read_part(folder / "data" / "step.json", Data, "result"),
        teacher=read_part(folder / "teacher" / "step.json", Teacher, "result"),
        teacher_history=read_part(folder / "teacher" / "history.json", History),
        network=_network(folder),
        space=space,
        distill=read_part(folder / "distill" / "history.json", History),
        distill_inputs=read_part(folder / "distill" / "step.json", DistillInputs, "inputs"),
        ratings=_table(folder / "rate" / "ratings.npz", RatingTable),
        costs=_table(folder / "cost" / "costs.npz", CostTable),
        solved=solved,
        front=front,
        additivity=read_part(folder / "additivity" / "additivity.json", Additivity),
        features=read_features(folder / "features", solved.solution.architecture if solved else None),
        students=read_histories(folder / "students"),
        measured=read_measured(folder / "students"),
        summary=summary,
        seconds=summary.seconds if summary else read_seconds(folder),
    )


def _with_heads(space: SearchSpace, solved: Solved | None, front: Fronts) -> tuple[Solved | None, Fronts]:
    """Choices that an older version wrote lack the head's candidate."""
    points = {cost: tuple(replace(p, choice=space.with_head(p.choice)) for p in found) for cost, found in front.items()}
    if solved is None:
        return None, points
    alternatives = tuple(replace(s, choice=space.with_head(s.choice)) for s in solved.alternatives)
    solution = replace(solved.solution, choice=space.with_head(solved.solution.choice))
    return replace(solved, solution=solution, alternatives=alternatives), points


def _network(folder: Path) -> TrainedNetwork | None:
    """The network of a retraining; its preprocessing is known once it is trained."""
    path = folder / "network" / "step.json"
    if not path.exists():
        return None
    network = as_record(path, read_json(path), TrainedNetwork, "result")
    try:
        parsed = parse_architecture(network.architecture)
    except UsageError as error:
        raise damaged(path, str(error)) from error
    weights = read_json(path).get("inputs", {}).get("weights")
    student = folder / "students" / parsed.fingerprint / "retrain" / "student.json"
    return replace(
        network, pretrained=weights is not None, preprocessing=read_part(student, Preprocessing, "preprocessing")
    )


def _space(path: Path) -> SearchSpace | None:
    if not path.exists():
        return None
    data = read_json(path)
    if not isinstance(data, dict):
        raise damaged(path, "a mapping is needed")
    try:
        return SearchSpace.from_dict(data)
    except UsageError as error:
        raise damaged(path, str(error)) from error


def _table(path: Path, kind: type[_T]) -> _T | None:
    if not path.exists():
        return None
    try:
        return kind.load(path)  # type: ignore[attr-defined]
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(path, f"{type(error).__name__} {error}") from error


def read_histories(folder: Path) -> dict[str, History]:
    """Training logs of the students in ``folder``, by architecture hash."""
    found = sorted(folder.glob("*/retrain/history.json"))
    return {path.parts[-3]: as_record(path, read_json(path), History) for path in found}


def read_measured(folder: Path) -> dict[str, Measured]:
    """What was trained, with the accuracy of those that were tested since."""
    found = {}
    for path in sorted(folder.glob("*/retrain/step.json")):
        trained = as_record(path, read_json(path), Measured, "result")
        tested = _tested(path.parents[1] / "evaluate" / "step.json", read_json(path).get("key"))
        found[path.parts[-3]] = replace(trained, top1=tested.top1, top5=tested.top5)
    return found


def _tested(path: Path, trained: str) -> Measured:
    if not path.exists() or read_part(path, str, "inputs", "retrain") != trained:
        return Measured()
    return as_record(path, read_json(path), Measured, "result")


def read_seconds(folder: Path) -> dict[str, float]:
    """Seconds of the steps that are finished, in the order in which they were; a network's own steps are left out."""
    found = sorted(folder.glob("*/step.json"), key=lambda path: (path.stat().st_mtime_ns, path))
    return {path.parent.name: as_record(path, read_json(path), float, "seconds") for path in found}
