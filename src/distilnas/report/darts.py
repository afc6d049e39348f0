"""The record of a DNAD run: what its search found and how, and what became of the chosen network."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from distilnas.checksums import require_intact
from distilnas.errors import UsageError
from distilnas.records.dnad import ChosenRecord, FoundNetwork, SearchRecord
from distilnas.records.files import damaged, read_part, read_text
from distilnas.records.steps import Data, History, Measured, Preprocessing, Summary, Teacher
from distilnas.report.read import read_histories, read_measured, read_seconds
from distilnas.space.darts import DartsArchitecture
from distilnas.tables.measures import shown


@dataclass(frozen=True, kw_only=True)
class DartsRecord:
    """All that a report shows of a DNAD run; None or empty where a step has not finished.

    Attributes that a single network's training has too are named as in ``RunRecord``: both use the same templates.
    """

    folder: Path
    config: str | None
    data: Data | None
    teacher: Teacher | None
    teacher_history: History | None
    searched: SearchRecord | None
    history: History | None
    found: tuple[FoundNetwork, ...]
    chosen: ChosenRecord | None
    students: dict[str, History]
    measured: dict[str, Measured]
    preprocessing: Preprocessing | None
    summary: Summary | None
    seconds: dict[str, float]

    network = None
    search = False

    @cached_property
    def architecture(self) -> DartsArchitecture | None:
        """The network that the solve step chose."""
        return DartsArchitecture.parse(self.chosen.solution.architecture) if self.chosen else None

    @property
    def resolution(self) -> int | None:
        """The input's side in pixels."""
        return self.preprocessing.resolution if self.preprocessing else None

    @property
    def student_hash(self) -> str:
        """Names the retrained network among ``students``; empty before the solve."""
        return self.architecture.fingerprint if self.architecture else ""

    @property
    def teacher_numbers(self) -> Measured | None:
        """The teacher as the summary measured it, else as its step did."""
        if self.summary:
            return self.summary.teacher
        return self.teacher.measured if self.teacher else None

    @property
    def shown_costs(self) -> tuple[str, ...]:
        """The costs of the student that people look at."""
        return shown(self.student_numbers.costs, {}) if self.student_numbers else ()

    @property
    def student_numbers(self) -> Measured | None:
        """The student as its own steps measured it, else what its architecture costs."""
        if self.chosen is None:
            return None
        solution = self.chosen.solution
        return self.measured.get(self.student_hash, Measured(costs={"macs": solution.macs, "params": solution.params}))


def read_darts(folder: Path) -> DartsRecord:
    """Read a DNAD run's folder; raises ``UsageError`` when it is none or an artefact is damaged."""
    if not (folder / "run.json").is_file():
        raise UsageError(f"{folder} is not a run folder: it has no run.json. Give the folder of a run with --run.")
    require_intact(folder)
    step = folder / "search" / "step.json"
    record = DartsRecord(
        folder=folder,
        config=read_text(folder / "config.yaml"),
        data=read_part(folder / "data" / "step.json", Data, "result"),
        teacher=read_part(folder / "teacher" / "step.json", Teacher, "result"),
        teacher_history=read_part(folder / "teacher" / "history.json", History),
        searched=read_part(step, SearchRecord, "result"),
        history=read_part(folder / "search" / "history.json", History),
        found=read_part(folder / "search" / "networks.json", tuple[FoundNetwork, ...]) or (),
        chosen=read_part(folder / "solve" / "solution.json", ChosenRecord),
        students=read_histories(folder / "students"),
        measured=read_measured(folder / "students"),
        preprocessing=read_part(step, Preprocessing, "inputs", "preprocessing"),
        summary=read_part(folder / "summary.json", Summary),
        seconds=read_seconds(folder),
    )
    try:
        _ = record.architecture
    except UsageError as error:
        raise damaged(folder / "solve" / "solution.json", str(error)) from error
    summary = record.summary
    if summary and summary.student.hash != record.student_hash:
        return replace(record, summary=None)  # of the student before: another budget was solved since
    return replace(record, seconds=summary.seconds) if summary else record
