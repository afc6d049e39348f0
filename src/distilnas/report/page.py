"""Puts the pieces together: record -> figures, tables and text -> one HTML file that needs nothing else."""

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import jinja2
import plotly.graph_objects as go
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from distilnas.files import write_text
from distilnas.report import figures, palette, wording
from distilnas.report.drawing import draw_architecture
from distilnas.report.read import RunRecord, read_run
from distilnas.report.records import Measured, Number, TeacherBlock
from distilnas.report.ridges import block_ratings

_FILTERS = (
    wording.amount,
    wording.count,
    wording.percent,
    wording.rating,
    wording.duration,
    wording.ops_text,
    wording.cost_name,
)


def write_report(run_folder: Path, out: Path | None = None) -> Path:
    """Write the report of a finished or partly finished run to ``out`` (default ``report.html`` in the folder).

    The file works offline: scripts, styles and data are inside, and its security policy forbids loading anything.
    Parts whose step has not run are replaced by the command that makes them. Returns the path; raises ``UsageError``
    when the folder is no run, an artefact is damaged, or ``out`` cannot be written.
    """
    run = read_run(run_folder)
    path = out or run_folder / "report.html"
    write_text(path, _render(run))
    return path


def _render(run: RunRecord) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("distilnas.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {function.__name__: function for function in _FILTERS}
    resolution = run.teacher.preprocessing.resolution if run.teacher else None
    return environment.get_template("report.html.j2").render(
        run=run,
        headline=wording.headline(run),
        tiles=_tiles(run),
        comparisons=_comparisons(run),
        blocks=_block_rows(run),
        figures={name: Markup(figure.to_json()) for name, figure in _figures(run).items()},
        architecture=Markup(draw_architecture(run.architecture, resolution=resolution)) if run.architecture else None,
        tie_text=wording.tie_text,
        block_colour=palette.block_colour,
        css=Markup((resources.files("distilnas.report") / "report.css").read_text()),
        plotly_js=Markup(get_plotlyjs()),
    )


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A number of the page's top."""

    label: str
    value: str
    note: str
    main: bool = False


def _tiles(run: RunRecord) -> list[Tile]:
    student, teacher = run.student_numbers, run.teacher_numbers or Measured()
    tiles = []
    if student:
        if student.top1 is not None:
            note = wording.points(student, teacher) or ""
            tiles.append(Tile(label="Student top-1", value=wording.percent(student.top1), note=note, main=True))
        for label, ours, theirs in (
            ("MACs", student.macs, teacher.macs),
            ("Parameters", student.params, teacher.params),
        ):
            note = f"{text} than the teacher" if (text := wording.times_fewer(ours, theirs)) else ""
            tiles.append(Tile(label=label, value=wording.amount(ours), note=note))
    if run.ratings and run.space:
        total = wording.count(run.space.num_candidates)
        tiles.append(Tile(label="Candidates rated", value=wording.count(run.ratings.num_rated), note=f"of {total}"))
    if run.space:
        note = f"in {len(run.space.blocks)} blocks"
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
    quantities = (
        ("Top-1", wording.percent, "top1"),
        ("MACs (papers: FLOPs)", wording.amount, "macs"),
        ("Parameters", wording.amount, "params"),
    )
    colours = dict(zip(networks, (palette.TEACHER, palette.STUDENT, palette.OTHERS), strict=False))
    rows = []
    for label, text, field in quantities:
        values: dict[str, Number | None] = {name: getattr(network, field) for name, network in known.items()}
        largest = max((value for value in values.values() if value), default=1)
        bars = {n: Bar(text=text(v), share=(v or 0) / largest, colour=colours[n]) for n, v in values.items()}
        rows.append(Comparison(label=label, bars=bars))
    return rows


def _mean(networks: tuple[Measured, ...]) -> Measured:
    def mean(field: str) -> float | None:
        values = [value for network in networks if (value := getattr(network, field)) is not None]
        return sum(values) / len(values) if values else None

    return Measured(top1=mean("top1"), macs=mean("macs"), params=mean("params"))


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
    chosen = run.architecture.blocks[b] if run.architecture else None
    return BlockRow(
        teacher=block,
        stride=spec.stride if spec else None,
        cells=", ".join(cell.name.replace("x", "×") for cell in spec.cells) if spec else "",
        candidates=spec.num_candidates if spec else None,
        chosen=f"{chosen.width}×{len(chosen.ops)}" if chosen else "",
        student_macs=_student_macs(run, b),
    )


def _student_macs(run: RunRecord, b: int) -> int | None:
    if not (run.costs and run.architecture and run.solved and "macs" in run.costs.costs):
        return None
    before = run.architecture.blocks[b - 1].width if b else run.architecture.stem.out_width
    candidate = run.solved.solution.choice[b]
    costs = run.costs.cells[b][candidate.cell].path(run.costs.in_widths[b].index(before), candidate.path)
    return int(costs[run.costs.costs.index("macs")])


def _figures(run: RunRecord) -> dict[str, go.Figure]:
    """All figures that the run's artefacts allow, by the names the template knows."""
    found: dict[str, go.Figure] = {}
    if run.summary and run.summary.random:
        found["accuracy"] = figures.accuracy_by_macs(run.summary.student, run.summary.random)
    if run.distill and run.space:
        found["distill"] = figures.loss_curves(run.distill, len(run.space.blocks))
    if run.teacher_history or run.students:
        student = run.students.get(run.student_hash)
        random = [history for name, history in run.students.items() if name != run.student_hash]
        for key, label in (("loss", "training loss"), ("val_top1", "validation top-1 (%)")):
            found[f"training-{key}"] = figures.training_curves(
                key, label, teacher=run.teacher_history, student=student, random=random
            )
    if run.ratings and run.space:
        choice = run.solved.solution.choice if run.solved else (None,) * len(run.space.blocks)
        for b, (block, table, chosen) in enumerate(zip(run.space.blocks, run.ratings.cells, choice, strict=True)):
            found[f"ratings-{b}"] = block_ratings(b, block.cells, table, chosen)
    if run.space:
        for cost, points in run.front.items():
            found[f"front-{cost}"] = figures.pareto_front(cost, points, run.space, run.solved)
    if run.additivity:
        found["additivity"] = figures.additivity_scatter(run.additivity)
    return found
