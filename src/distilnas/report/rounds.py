"""The record of a progressive run: what its parts, each a run of its own, have come to."""

from dataclasses import dataclass, replace
from pathlib import Path

from distilnas.checksums import require_intact
from distilnas.records.files import read_config, read_part, read_text
from distilnas.records.steps import Measured, Summary


@dataclass(frozen=True, kw_only=True)
class Round:
    """A search in ``round-N``, and its winner grown and trained in ``scaled-N`` to teach the next; None: not done."""

    round: int
    teacher: Measured | None = None
    student: Measured | None = None
    scaled: Measured | None = None


@dataclass(frozen=True, kw_only=True)
class RoundsSummary:
    """``summary.json`` of a progressive run."""

    run: str
    rounds: tuple[Round, ...]


@dataclass(frozen=True, kw_only=True)
class RoundsRecord:
    """``planned``: how many rounds the configuration asks for; ``seconds``: of the finished parts, by their names."""

    folder: Path
    name: str
    config: str | None
    planned: int | None
    rounds: tuple[Round, ...]
    seconds: dict[str, float]
    finished: bool

    @property
    def students(self) -> tuple[tuple[int, Measured], ...]:
        """The rounds' winners that are trained, with their rounds."""
        return tuple((row.round, row.student) for row in self.rounds if row.student)

    @property
    def teachers(self) -> tuple[tuple[int, Measured], ...]:
        """Each round's teacher, known as soon as the winner before it is grown and trained."""
        first = [(row.round, row.teacher) for row in self.rounds[:1] if row.teacher]
        return (*first, *((row.round + 1, row.scaled) for row in self.rounds if row.scaled))


def read_rounds(folder: Path) -> RoundsRecord:
    """Read a progressive run's folder: its parts as they are now, and of parts that are not there its summary."""
    require_intact(folder)
    summary = read_part(folder / "summary.json", RoundsSummary)
    planned = read_config(folder).get("rounds")
    parts = _finished_parts(folder)
    rounds = {row.round: row for row in summary.rounds} if summary else {}
    for name, part in parts.items():
        kind, _, number = name.partition("-")
        row = rounds.get(int(number), Round(round=int(number)))
        found = {"teacher": part.teacher, "student": part.student} if kind == "round" else {"scaled": part.student}
        rounds[row.round] = replace(row, **found)
    return RoundsRecord(
        folder=folder,
        name=summary.run if summary else folder.name,
        config=read_text(folder / "config.yaml"),
        planned=planned if isinstance(planned, int) else None,
        rounds=tuple(rounds[number] for number in sorted(rounds)),
        seconds={name: sum(part.seconds.values()) for name, part in parts.items()},
        finished=summary is not None,
    )


def _finished_parts(folder: Path) -> dict[str, Summary]:
    """By name, in the order in which they were worked on."""
    numbers = range(1, len(list(folder.glob("round-*"))) + 1)
    names = [f"{kind}-{number}" for number in numbers for kind in ("round", "scaled")]
    found = {name: read_part(folder / name / "summary.json", Summary) for name in names}
    return {name: part for name, part in found.items() if part}
