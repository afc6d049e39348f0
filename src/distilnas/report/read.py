"""Artefacts of a run folder -> one checked record. What a later step writes may be missing; nothing may be damaged."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from distilnas.errors import UsageError
from distilnas.files import read_json
from distilnas.report.records import Additivity, Data, FrontPoint, History, Measured, Solved, Summary, Teacher
from distilnas.space import Architecture, SearchSpace
from distilnas.tables import CostTable, RatingTable

_STEPS = ("data", "teacher", "space", "distill", "rate", "cost", "solve", "additivity")
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """All that a report shows; None or empty where the step has not finished.

    ``students``: training logs by architecture hash. ``seconds``: by step.
    """

    folder: Path
    config: str | None
    data: Data | None
    teacher: Teacher | None
    teacher_history: History | None
    space: SearchSpace | None
    distill: History | None
    ratings: RatingTable | None
    costs: CostTable | None
    solved: Solved | None
    front: dict[str, tuple[FrontPoint, ...]]
    additivity: Additivity | None
    students: dict[str, History]
    summary: Summary | None
    seconds: dict[str, float]

    def __post_init__(self) -> None:
        if self.space is None:
            if self.ratings or self.costs or self.solved or self.front:
                raise UsageError(
                    f"{self.folder} has later steps but no space/space.json. Run `distilnas distill` on it again."
                )
            return
        if self.teacher and len(self.teacher.blocks) != len(self.space.blocks):
            raise UsageError(
                f"{self.folder}: the teacher has {len(self.teacher.blocks)} blocks, the space "
                f"{len(self.space.blocks)}; both must come from one run. Run `distilnas distill` on it again."
            )
        for table in (self.ratings, self.costs):
            if table:
                table.check(self.space)
        self._check_choices(self.space)

    def _check_choices(self, space: SearchSpace) -> None:
        answers = (self.solved.solution, *self.solved.alternatives) if self.solved else ()
        for found in (*answers, *(point for points in self.front.values() for point in points)):
            space.architecture(found.choice)

    @cached_property
    def architecture(self) -> Architecture | None:
        """The solver's network."""
        return self.space.architecture(self.solved.solution.choice) if self.space and self.solved else None

    @property
    def student_hash(self) -> str:
        """Names the retrained network among ``students``; empty before the solve."""
        if self.summary:
            return self.summary.student.hash
        return self.architecture.fingerprint if self.architecture else ""

    @property
    def teacher_numbers(self) -> Measured | None:
        """The teacher as the summary measured it, else as its step did."""
        if self.summary:
            return self.summary.teacher
        step = self.teacher
        return Measured(name=step.name, top1=step.val_top1, params=step.params, macs=step.macs) if step else None

    @property
    def student_numbers(self) -> Measured | None:
        """The student as the summary measured it, else the costs of the solution."""
        if self.summary:
            return self.summary.student
        costs = self.solved.solution.costs if self.solved else {}
        return Measured(params=costs.get("params"), macs=costs.get("macs")) if costs else None


def read_run(folder: Path) -> RunRecord:
    """Read a run folder; raises ``UsageError`` when it is none or an artefact is damaged or does not fit."""
    if not (folder / "run.json").is_file():
        raise UsageError(f"{folder} is not a run folder: it has no run.json. Give the folder of a run with --run.")
    solved = _maybe(folder / "solve" / "solution.json", Solved)
    summary = _maybe(folder / "summary.json", Summary)
    if summary and solved and summary.student.architecture not in (None, solved.solution.architecture):
        summary = None  # of the student before: another budget was solved since, and its student is not finished
    return RunRecord(
        folder=folder,
        config=_text(folder / "config.yaml"),
        data=_maybe(folder / "data" / "step.json", Data, "result"),
        teacher=_maybe(folder / "teacher" / "step.json", Teacher, "result"),
        teacher_history=_maybe(folder / "teacher" / "history.json", History),
        space=_space(folder / "space" / "space.json"),
        distill=_maybe(folder / "distill" / "history.json", History),
        ratings=_table(folder / "rate" / "ratings.npz", RatingTable),
        costs=_table(folder / "cost" / "costs.npz", CostTable),
        solved=solved,
        front=_maybe(folder / "solve" / "front.json", dict[str, tuple[FrontPoint, ...]]) or {},
        additivity=_maybe(folder / "additivity" / "additivity.json", Additivity),
        students=_students(folder / "students"),
        summary=summary,
        seconds=summary.seconds if summary else _seconds(folder),
    )


def _maybe(path: Path, kind: type[_T], part: str | None = None) -> _T | None:
    """The JSON file, or its entry ``part``, as a ``kind``; None when there is no such file."""
    return _check(path, kind, read_json(path), part) if path.exists() else None


def _check(path: Path, kind: type[_T], data: Any, part: str | None) -> _T:
    if part is not None:
        data = data.get(part) if isinstance(data, dict) else None
    try:
        return TypeAdapter(kind).validate_python(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, ([part] if part else []) + list(first["loc"])))
        raise _damaged(path, f"{where or 'the whole'}: {first['msg']}") from error


def _space(path: Path) -> SearchSpace | None:
    if not path.exists():
        return None
    data = read_json(path)
    if not isinstance(data, dict):
        raise _damaged(path, "a mapping is needed")
    try:
        return SearchSpace.from_dict(data)
    except UsageError as error:
        raise _damaged(path, str(error)) from error


def _table(path: Path, kind: type[_T]) -> _T | None:
    if not path.exists():
        return None
    try:
        return kind.load(path)  # type: ignore[attr-defined]
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, f"{type(error).__name__} {error}") from error


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8") if path.exists() else None
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(path, str(error)) from error


def _students(folder: Path) -> dict[str, History]:
    found = sorted(folder.glob("*/retrain/history.json"))
    return {path.parts[-3]: _check(path, History, read_json(path), None) for path in found}


def _seconds(folder: Path) -> dict[str, float]:
    steps = {step: _maybe(folder / step / "step.json", float, "seconds") for step in _STEPS}
    return {step: seconds for step, seconds in steps.items() if seconds is not None}


def _damaged(path: Path, why: str) -> UsageError:
    return UsageError(f"{path} is damaged or of another version ({why}). Delete it and run its step again.")
