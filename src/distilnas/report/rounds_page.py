"""The page of a progressive run: the rounds beside each other, and the way to each part's own report."""

import os
from dataclasses import dataclass
from pathlib import Path

from distilnas.records.steps import Measured
from distilnas.report import figures, wording
from distilnas.report.page import Page, Tile
from distilnas.report.rounds import RoundsRecord
from distilnas.tables.measures import measure_info, shown

_SECTIONS = {"rounds": "Rounds", "parts": "Parts"}


@dataclass(frozen=True, kw_only=True)
class NetworkRow:
    """A network of a round; ``report``: link to its part's report, where there is one."""

    round: int
    role: str
    network: Measured
    report: str | None = None
    student: bool = False


def rounds_page(run: RoundsRecord, place: Path) -> Page:
    """The page that will lie in the folder ``place``, from which its links lead."""
    return Page(
        folder=run.folder,
        name=run.name,
        recipe="progressive",
        headline=_headline(run),
        tiles=_tiles(run),
        sections=_SECTIONS,
        figures={
            f"rounds-{cost}": figures.accuracy_over_rounds(cost, run.teachers, run.students) for cost in _costs(run)
        },
        content={"run": run, "rows": _rows(run, place), "costs": _costs(run)},
    )


def _headline(run: RoundsRecord) -> str:
    if not run.students:
        return "The first round is not finished."
    (first, begin), (number, student) = run.students[0], run.students[-1]
    size = wording.sizes(student)
    sentence = f"The student of round {number} reaches {wording.percent(student.top1)} top-1 with {size}"
    before = f"; that of round {first} reached {wording.percent(begin.top1)}" if number > first else ""
    return f"{sentence}{before}."


def _tiles(run: RoundsRecord) -> list[Tile]:
    done = len(run.students)
    of = f"of {run.planned}" if run.planned else ""
    tiles = [Tile(label="Rounds finished", value=str(done), note=of)]
    if done:
        student = run.students[-1][1]
        note = f"of round {run.students[-1][0]}"
        tiles = [
            Tile(label="Student top-1", value=wording.percent(student.top1), note=note, main=True),
            *(
                Tile(label=measure_info(cost).label, value=wording.cost_amount(student.costs[cost], cost), note=note)
                for cost in _costs(run)
            ),
            *tiles,
        ]
    if run.seconds:
        tiles.append(Tile(label="Time", value=wording.duration(sum(run.seconds.values())), note="all parts together"))
    return tiles


def _costs(run: RoundsRecord) -> tuple[str, ...]:
    return shown(run.students[-1][1].costs) if run.students else ()


def _rows(run: RoundsRecord, place: Path) -> list[NetworkRow]:
    """A grown student stands for itself and for the teacher of the next round."""
    rows = []
    for before, row in zip((None, *run.rounds), run.rounds, strict=False):
        if row.teacher and not (before and before.scaled):
            rows.append(NetworkRow(round=row.round, role=f"teacher {row.teacher.name}", network=row.teacher))
        if row.student:
            link = _link(run.folder / f"round-{row.round}", place)
            rows.append(NetworkRow(round=row.round, role="student", network=row.student, report=link, student=True))
        if row.scaled:
            role, link = (
                f"student, grown: teaches round {row.round + 1}",
                _link(run.folder / f"scaled-{row.round}", place),
            )
            rows.append(NetworkRow(round=row.round, role=role, network=row.scaled, report=link))
    return rows


def _link(part: Path, place: Path) -> str | None:
    report = part / "report.html"
    return Path(os.path.relpath(report, place)).as_posix() if report.is_file() else None
