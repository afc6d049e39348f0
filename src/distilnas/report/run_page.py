"""The page of a search, or of a single network's training: record -> figures, tables and text."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
from markupsafe import Markup

from distilnas.records.features import STUDENTS
from distilnas.records.steps import Measured, TeacherBlock
from distilnas.report import figures, palette, wording
from distilnas.report.drawing import draw_architecture
from distilnas.report.page import Page, Tile
from distilnas.report.pictures import block_pictures
from distilnas.report.read import RunRecord
from distilnas.report.ridges import block_ratings
from distilnas.tables.measures import Number, measure_info

_SEARCH = {
    "networks": "Teacher and student",
    "architecture": "Architecture",
    "blocks": "Blocks and search space",
    "training": "Training",
    "ratings": "Ratings",
    "front": "Pareto front",
    "proof": "Budget and proof",
    "additivity": "Do block ratings add up?",
    "features": "Features",
    "data": "Data",
    "provenance": "Provenance",
}
_RETRAIN = {
    "network": "Network",
    "architecture": "Architecture",
    "training": "Training",
    "data": "Data",
    "provenance": "Provenance",
}


def run_page(run: RunRecord) -> Page:
    """A run without a teacher is a single network's training: its page has no sections about a search."""
    sections = _SEARCH if run.search else _RETRAIN
    return Page(
        folder=run.folder,
        name=run.summary.run if run.summary else run.folder.name,
        recipe=run.recipe,
        headline=wording.headline(run),
        tiles=_tiles(run),
        warnings=run.summary.warnings if run.summary else (),
        sections={id: title for id, title in sections.items() if id != "features" or run.features},
        figures=_figures(run),
        content={
            "run": run,
            "comparisons": _comparisons(run),
            "blocks": _block_rows(run),
            "architecture": Markup(draw_architecture(run.architecture, resolution=run.resolution))
            if run.architecture
            else None,
            "architecture_key": wording.architecture_key(run.architecture, searched=run.search),
            "pictures": block_pictures(run.features) if run.features else (),
            "tie_text": wording.tie_text,
        },
    )


def _tiles(run: RunRecord) -> list[Tile]:
    student, teacher = run.student_numbers, run.teacher_numbers or Measured()
    tiles = []
    if student:
        if student.top1 is not None:
            note = wording.points(student, teacher) or ""
            label = "Student top-1" if run.search else "Top-1"
            tiles.append(Tile(label=label, value=wording.percent(student.top1), note=note, main=True))
        for cost in run.shown_costs:
            ours, theirs = student.costs[cost], teacher.costs.get(cost)
            note = f"{text} than the teacher" if (text := wording.times_fewer(ours, theirs)) else ""
            tiles.append(Tile(label=measure_info(cost).label, value=wording.cost_amount(ours, cost), note=note))
    if run.ratings and run.space:
        total = wording.count(run.space.num_candidates)
        tiles.append(Tile(label="Candidates rated", value=wording.count(run.ratings.num_rated), note=f"of {total}"))
    if run.space:
        note = f"in {len(run.space.body)} blocks"
        tiles.append(Tile(label="Architectures", value=wording.count(run.space.num_architectures), note=note))
    if run.seconds:
        tiles.append(Tile(label="Time", value=wording.duration(sum(run.seconds.values())), note="all steps together"))
    return tiles


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A number with a bar of ``share`` (0 to 1) of the row's largest."""

    text: str
    share: float
    colour: str


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One quantity of teacher, student and, where trained, the mean of the random networks."""

    label: str
    bars: dict[str, Bar]


def _comparisons(run: RunRecord) -> list[Comparison]:
    networks = {"teacher": run.teacher_numbers, "student": run.student_numbers}
    if networks["teacher"] is None or networks["student"] is None:
        return []
    if run.summary and run.summary.random:
        networks["random networks, mean"] = _mean(run.summary.random)
    known = {name: network for name, network in networks.items() if network}
    colours = dict(zip(networks, (palette.TEACHER, palette.STUDENT, palette.OTHERS), strict=False))

    def row(label: str, text: Callable[[Number | None], str], value: Callable[[Measured], Number | None]) -> Comparison:
        values = {name: value(network) for name, network in known.items()}
        largest = max((value for value in values.values() if value), default=1)
        bars = {n: Bar(text=text(v), share=(v or 0) / largest, colour=colours[n]) for n, v in values.items()}
        return Comparison(label=label, bars=bars)

    def cost_row(cost: str) -> Comparison:
        return row(measure_info(cost).title, lambda v: wording.cost_amount(v, cost), lambda net: net.costs.get(cost))

    return [row("Top-1", wording.percent, lambda net: net.top1), *map(cost_row, run.shown_costs)]


def _mean(networks: tuple[Measured, ...]) -> Measured:
    def mean(values: Sequence[Number | None]) -> float | None:
        known = [value for value in values if value is not None]
        return sum(known) / len(known) if known else None

    names = dict.fromkeys(name for network in networks for name in network.costs)
    costs = {name: mean([network.costs.get(name) for network in networks]) for name in names}
    return Measured(
        top1=mean([network.top1 for network in networks]),
        costs={name: cost for name, cost in costs.items() if cost is not None},
    )


@dataclass(frozen=True, kw_only=True)
class BlockRow:
    """A teacher block and what the search does with it; later parts are empty until their step has run."""

    teacher: TeacherBlock
    stride: int | None
    cells: str
    candidates: int | None
    chosen: str
    student_macs: Number | None


def _block_rows(run: RunRecord) -> list[BlockRow]:
    return [_block_row(run, b, block) for b, block in enumerate(run.teacher.blocks)] if run.teacher else []


def _block_row(run: RunRecord, b: int, block: TeacherBlock) -> BlockRow:
    spec = run.space.blocks[b] if run.space else None
    chosen = run.solution.body[b] if run.solution else None
    return BlockRow(
        teacher=block,
        stride=spec.stride if spec else None,
        cells=", ".join(family.name.replace("x", "×") for family in spec.families) if spec else "",
        candidates=spec.num_candidates if spec else None,
        chosen=chosen.brief.replace("x", "×") if chosen else "",
        student_macs=_student_macs(run, b),
    )


def _student_macs(run: RunRecord, b: int) -> int | None:
    if not (run.costs and run.solution and run.solved and "macs" in run.costs.costs):
        return None
    widths, candidate = run.costs.in_widths[b], run.solved.solution.choice[b]
    row = widths.index(run.solution.blocks[b - 1].out) if b else 0
    costs = run.costs.cells[b][candidate.cell].path(row, candidate.path)
    return int(costs[run.costs.costs.index("macs")])


def _figures(run: RunRecord) -> dict[str, go.Figure]:
    """All figures that the run's artefacts allow, by the names the template knows."""
    found: dict[str, go.Figure] = {}
    if run.summary and run.summary.random:
        found["accuracy"] = figures.accuracy_by_macs(run.summary.student, run.summary.random)
    if run.distill and run.space:
        found["distill"] = figures.loss_curves(run.distill, len(run.space.body), wording.loss_label(run.distill_inputs))
    if run.teacher_history or run.students:
        student = run.students.get(run.student_hash)
        random = [history for name, history in run.students.items() if name != run.student_hash]
        for key, label in (("loss", "training loss"), ("val_top1", "validation top-1 (%)")):
            figure = figures.training_curves(key, label, teacher=run.teacher_history, student=student, random=random)
            found[f"training-{key}"] = figure.update_layout(showlegend=run.search)
    if run.ratings and run.space:
        choice = run.solved.solution.choice if run.solved else (None,) * len(run.space.body)
        for b, (block, table, chosen) in enumerate(zip(run.space.body, run.ratings.body, choice, strict=False)):
            found[f"ratings-{b}"] = block_ratings(b, block, table, chosen)
    if run.space:
        for cost, points in run.front.items():
            found[f"front-{cost}"] = figures.pareto_front(cost, points, run.space, run.solved)
    if run.additivity:
        found["additivity"] = figures.additivity_scatter(run.additivity)
    if run.features:
        for block in run.features.comparison.blocks:
            values = (run.features.arrays[f"{block.block}/correlation/{who}"] for who in STUDENTS)
            found[f"similarity-{block.block}"] = figures.channel_similarity(*values)
    return found
