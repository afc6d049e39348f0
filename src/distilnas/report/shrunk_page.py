"""The page of a shrinking run: what came out, accuracy against budget, data and provenance."""

from collections.abc import Sequence

import plotly.graph_objects as go

from distilnas.report import wording
from distilnas.report.page import Page, Tile
from distilnas.report.palette import OTHERS, STUDENT, TEACHER, block_colour
from distilnas.report.plotting import chosen_marker, new_figure
from distilnas.report.shrunk import CurvePoint, ShrunkNetwork, ShrunkRecord, ShrunkSummary
from distilnas.report.shrunk_answer import answer, explored, photos
from distilnas.report.shrunk_latency import latency_figures

_SECTIONS = {
    "answer": "Answer",
    "students": "Students",
    "latency": "Latency",
    "curve": "Accuracy against budget",
    "explorer": "Other budgets",
    "photos": "Where they differ",
    "use": "Use it",
    "data": "Data",
    "provenance": "Provenance",
}
_SYMBOLS = ("square-open", "triangle-up-open", "x", "circle-open")


def shrunk_page(run: ShrunkRecord) -> Page:
    """The page, as far as the run has come."""
    found = run.found
    timed = found is not None and found.latency is not None
    figures = {"curve": curve(found)} if found and found.curve else {}
    return Page(
        folder=run.folder,
        name=found.run if found else run.folder.name,
        recipe="shrink",
        headline=_headline(found) if found else "The students are not finished.",
        tiles=_tiles(found) if found else [],
        sections={name: title for name, title in _SECTIONS.items() if timed or name != "latency"},
        figures=figures | (latency_figures(found) if found and timed else {}),
        content={"run": run, **answer(run), "shown": photos(run), "explored_json": explored(run)},
    )


def curve(found: ShrunkSummary) -> go.Figure:
    """Held-out accuracy of repaired students before any training, and of what anybody would try first."""
    figure = new_figure(x="MACs (papers: FLOPs)", y="held-out top-1 (%)")
    _points(figure, "searched, repaired, untrained", found.curve, chosen_marker() | {"size": 9}, line=STUDENT)
    kinds = dict.fromkeys(point.kind for point in found.alternatives)
    for number, kind in enumerate(kinds):
        marker = {"symbol": _SYMBOLS[number % len(_SYMBOLS)], "size": 9, "color": block_colour(number)}
        _points(figure, kind, [p for p in found.alternatives if p.kind == kind], marker)
    if found.held_out_teacher and found.held_out_teacher.top1 is not None:
        teacher = found.held_out_teacher
        marker = {"symbol": "star", "size": 13, "color": TEACHER}
        figure.add_scatter(x=[teacher.macs], y=[teacher.top1], name="teacher", mode="markers", marker=marker)
        figure.add_hline(y=teacher.top1, line={"color": OTHERS, "width": 1, "dash": "dot"})
    return figure


def _points(
    figure: go.Figure, name: str, points: Sequence[CurvePoint], marker: dict[str, object], line: str | None = None
) -> None:
    points = sorted((point for point in points if point.top1 is not None), key=lambda point: point.macs)
    figure.add_scatter(
        x=[point.macs for point in points],
        y=[point.top1 for point in points],
        error_y={"type": "data", "array": [point.stderr for point in points], "thickness": 1, "width": 3},
        name=name,
        mode="lines+markers" if line else "markers",
        line={"color": line, "width": 1.5} if line else None,
        marker=marker,
        text=[f"{wording.amount(p.macs)} MACs, {wording.amount(p.params)} parameters" for p in points],
        hovertemplate="%{y:.1f} % &plusmn; %{error_y.array:.1f}, %{text}<extra>%{fullData.name}</extra>",
    )


def _headline(found: ShrunkSummary) -> str:
    student, teacher = found.students[0], found.teacher
    sizes = f"{student.macs / teacher.macs:.0%} of the MACs and {student.params / teacher.params:.0%} of the parameters"
    if found.labels == "teacher":
        return (
            f"{sizes}: of {wording.percent(student.top1)} of the test images the student says what its teacher says. "
            "They have no classes: wherever this page says top-1, it means agreement with the teacher."
        )
    return (
        f"{sizes}: "
        f"the student reaches {wording.percent(student.top1)} top-1, its teacher {wording.percent(teacher.top1)}."
    )


def _tiles(found: ShrunkSummary) -> list[Tile]:
    student, teacher = found.students[0], found.teacher

    def beside(name: str) -> str:
        return f"teacher {wording.amount(getattr(teacher, name))}"

    untrained = wording.percent(student.top1_before_training)
    timed: list[Tile] = []
    if student.latency_ms is not None and teacher.latency_ms is not None:
        timed = [
            Tile(label="Latency", value=f"{student.latency_ms:.3g} ms", note=f"teacher {teacher.latency_ms:.3g} ms")
        ]
    return [
        Tile(label="Student top-1", value=wording.percent(student.top1), note=_difference(student, teacher), main=True),
        Tile(label="Before training", value=untrained, note="repaired in closed form"),
        Tile(label="MACs", value=wording.amount(student.macs), note=beside("macs")),
        Tile(label="Parameters", value=wording.amount(student.params), note=beside("params")),
        Tile(label="Weights", value=f"{wording.amount(student.bytes)}B", note=f"{beside('bytes')}B"),
        *timed,
    ]


def _difference(student: ShrunkNetwork, teacher: ShrunkNetwork) -> str:
    return f"{student.top1 - teacher.top1:+.1f} points to its teacher"
