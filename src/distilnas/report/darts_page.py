"""The page of a DNAD run: record -> figures, tables and text."""

import plotly.graph_objects as go
from markupsafe import Markup

from distilnas.report import darts_figures, figures, wording
from distilnas.report.cells import draw_cells
from distilnas.report.darts import DartsRecord
from distilnas.report.page import Page, Tile
from distilnas.tables.measures import measure_info, shown

_SECTIONS = {
    "network": "Student",
    "architecture": "Cells",
    "shrinking": "Search",
    "archive": "Pareto archive",
    "training": "Training",
    "data": "Data",
    "provenance": "Provenance",
}
_METHODS = {"shrink": "a supernet that shrinks itself", "bilevel": "DARTS"}


def darts_page(run: DartsRecord) -> Page:
    """The page of the run as far as it has come."""
    drawing = draw_cells(run.architecture, resolution=run.resolution) if run.architecture else None
    return Page(
        folder=run.folder,
        name=run.summary.run if run.summary else run.folder.name,
        recipe="dnad",
        headline=_headline(run),
        tiles=_tiles(run),
        warnings=run.summary.warnings if run.summary else (),
        sections=_SECTIONS,
        figures=_figures(run),
        content={
            "run": run,
            "architecture": Markup(drawing) if drawing else None,
            "architecture_key": wording.architecture_key(run.architecture, searched=False),
            "method": _METHODS[run.searched.method] if run.searched else "",
        },
    )


def _headline(run: DartsRecord) -> str:
    if run.searched is None:
        return "The search is not finished."
    student, teacher = run.student_numbers, run.teacher_numbers
    sentences = []
    if student and student.top1 is not None:
        size = wording.sizes(student)
        beside = f" ({wording.percent(teacher.top1)} of its teacher {teacher.name})" if teacher else ""
        sentences.append(f"The student reaches {wording.percent(student.top1)} top-1{beside} with {size}.")
    searched = run.searched
    found = f"{searched.num_networks} networks, {searched.num_front} of them on its front"
    return " ".join([*sentences, f"The search found {found}, and ended because {searched.ended}."])


def _tiles(run: DartsRecord) -> list[Tile]:
    tiles = []
    student, teacher = run.student_numbers, run.teacher_numbers
    if student and student.top1 is not None:
        note = (wording.points(student, teacher) or "") if teacher else ""
        tiles.append(Tile(label="Student top-1", value=wording.percent(student.top1), note=note, main=True))
    if student:
        tiles += [
            Tile(label=measure_info(cost).label, value=wording.cost_amount(student.costs[cost], cost), note="")
            for cost in shown(student.costs)
        ]
    if run.searched:
        value, number = str(run.searched.num_front), run.searched.num_networks
        tiles.append(Tile(label="Networks on the front", value=value, note=f"of {number}"))
        tiles.append(Tile(label="Pareto events", value=str(run.searched.num_events), note=""))
        tiles.append(Tile(label="Genotypes", value=wording.count(run.searched.num_genotypes), note="in the space"))
    if run.seconds:
        tiles.append(Tile(label="Time", value=wording.duration(sum(run.seconds.values())), note="all steps together"))
    return tiles


def _figures(run: DartsRecord) -> dict[str, go.Figure]:
    """All figures that the run's artefacts allow, by the names the templates know."""
    found: dict[str, go.Figure] = {}
    if run.history:
        found["losses"] = darts_figures.losses(run.history)
        if run.history.curve("gamma")[0]:
            found["shrinking"] = darts_figures.shrinking(run.history)
            found["pressure"] = darts_figures.pressure(run.history)
    if run.found:
        found["archive"] = darts_figures.archive(run.found, run.chosen)
    student = run.students.get(run.student_hash)
    if run.teacher_history or student:
        random = [history for name, history in run.students.items() if name != run.student_hash]
        for key, label in (("loss", "training loss"), ("val_top1", "validation top-1 (%)")):
            found[f"training-{key}"] = figures.training_curves(
                key, label, teacher=run.teacher_history, student=student, random=random
            )
    return found
