"""The report's plots: plotly figures as functions of records. Backgrounds are transparent, so that the page's theme shows."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from distilnas.report.palette import OTHERS, STUDENT, TEACHER, block_colour, faded
from distilnas.report.records import Additivity, FrontPoint, History, Measured, Solution, Solved
from distilnas.report.wording import amount, blocks_text, ops_text, percent
from distilnas.space import Candidate, CellSpec, SearchSpace
from distilnas.tables import CellRatings

_BINS = 60
_FEW = 64
_MAX_POINTS = 400
_RIDGE_HEIGHT = 0.8


def loss_curves(history: History, num_blocks: int) -> go.Figure:
    """Distillation loss over epochs, one line per block."""
    figure = _figure(x="epoch", y="relative loss")
    for b in range(num_blocks):
        epochs, losses = history.curve(f"block {b + 1}")
        mode = "lines" if len(epochs) > 1 else "markers"
        figure.add_scatter(x=epochs, y=losses, name=f"block {b + 1}", mode=mode, line={"color": block_colour(b), "width": 2})
    figure.update_yaxes(rangemode="tozero")
    return figure


def training_curves(key: str, label: str, *, teacher: History | None, student: History | None, random: Sequence[History]) -> go.Figure:
    """``key`` of the training logs over epochs: random networks thin, teacher and student on top."""
    figure = _figure(x="epoch", y=label)
    lines = [(history, "random networks", faded(OTHERS, 0.6), 1.0) for history in random]
    lines += [(teacher, "teacher", TEACHER, 2.0)] if teacher else []
    lines += [(student, "student", STUDENT, 2.5)] if student else []
    for n, (history, name, colour, width) in enumerate(lines):
        epochs, values = history.curve(key)
        first_of_name = n == 0 or lines[n - 1][1] != name
        style = {"color": colour, "width": width}
        mode = "lines" if len(epochs) > 1 else "markers"
        figure.add_scatter(x=epochs, y=values, name=name, mode=mode, line=style, legendgroup=name, showlegend=first_of_name)
    return figure


def accuracy_by_macs(student: Measured, random: Sequence[Measured]) -> go.Figure:
    """Student among random networks of the same budget, trained equally."""
    figure = _figure(x="MACs (papers: FLOPs)", y="top-1 (%)")
    for nets, name, marker in (
        (random, "random networks", {"size": 9, "color": faded(OTHERS, 0.75)}),
        ([student], "student", _chosen_marker()),
    ):
        figure.add_scatter(
            x=[net.macs for net in nets],
            y=[net.top1 for net in nets],
            name=name,
            mode="markers",
            marker=marker,
            text=[f"{percent(net.top1)}, {amount(net.macs)} MACs, {amount(net.params)} params" for net in nets],
            hovertemplate="%{text}<extra>%{fullData.name}</extra>",
        )
    return figure


def block_ratings(block: int, cells: Sequence[CellSpec], ratings: Sequence[CellRatings], chosen: Candidate | None) -> go.Figure:
    """Ratings of a block's candidates, one row per cell: every candidate when they are few, else a binned outline."""
    figure = _figure(x="rating (lower is better)", y=None)
    values = [np.sort(table.mean[np.isfinite(table.mean)]) for table in ratings]
    everything = np.concatenate(values)
    edges = np.histogram_bin_edges(everything, bins=_BINS) if everything.size else np.array([0.0, 1.0])
    for row, (cell, rated) in enumerate(zip(cells, values, strict=True)):
        if rated.size:
            draw = _add_ticks if rated.size <= _FEW else _add_outline
            draw(figure, row, cell, rated, edges, block_colour(block))
    if chosen is not None:
        _add_chosen(figure, cells[chosen.cell], ratings[chosen.cell], chosen)
    rows = list(range(len(cells)))
    figure.update_yaxes(tickvals=rows, ticktext=[_cell_name(c) for c in cells], range=[-0.2, len(cells)], showgrid=False)
    figure.update_layout(showlegend=False)
    return figure


def _add_outline(figure: go.Figure, row: int, cell: CellSpec, rated: np.ndarray, edges: np.ndarray, colour: str) -> None:
    counts, _ = np.histogram(rated, bins=edges)
    heights = row + _RIDGE_HEIGHT * counts / counts.max()
    centres = (edges[:-1] + edges[1:]) / 2
    filled = np.flatnonzero(counts)
    span = slice(max(filled[0] - 1, 0), filled[-1] + 2)
    figure.add_scatter(
        x=_short([edges[span.start], *centres[span], edges[min(span.stop, len(edges) - 1)]]),
        y=_short([row, *heights[span], row]),
        mode="lines",
        fill="toself",
        fillcolor=faded(colour, 0.28),
        line={"color": colour, "width": 1.2, "shape": "linear"},
        hoveron="fills",
        name=_cell_summary(cell, rated),
        hoverinfo="text",
        text=_cell_summary(cell, rated),
    )


def _add_ticks(figure: go.Figure, row: int, cell: CellSpec, rated: np.ndarray, edges: np.ndarray, colour: str) -> None:
    del edges  # every candidate is drawn, nothing is binned
    figure.add_scatter(
        x=_short(rated),
        y=[row + 0.25] * rated.size,
        mode="markers",
        marker={"symbol": "line-ns", "size": 14, "line": {"color": colour, "width": 1.6}},
        hovertemplate="%{x:.4g}<extra>" + _cell_summary(cell, rated) + "</extra>",
    )


def _add_chosen(figure: go.Figure, cell: CellSpec, table: CellRatings, chosen: Candidate) -> None:
    mean, error = float(table.mean[chosen.path]), float(table.stderr[chosen.path])
    rank = int((table.mean < mean).sum()) + 1
    text = f"chosen: {_cell_name(cell)} {ops_text(cell.ops(chosen.path))}<br>{mean:.4g} ± {error:.2g}, rank {rank} in its cell"
    figure.add_scatter(
        x=[mean],
        y=[chosen.cell + 0.25],
        error_x={"array": [error], "color": STUDENT, "thickness": 1.5, "width": 3},
        mode="markers",
        marker=_chosen_marker(),
        text=[text],
        hovertemplate="%{text}<extra></extra>",
    )


def pareto_front(cost: str, points: Sequence[FrontPoint], space: SearchSpace, solved: Solved | None) -> go.Figure:
    """Best rating for every budget of ``cost``, with the budget's limits, the solution and its alternatives."""
    figure = _figure(x="MACs (papers: FLOPs)" if cost == "macs" else cost, y="rating (lower is better)")
    shown = sorted(thinned(points), key=lambda p: p.costs[cost])
    figure.add_scatter(
        x=[p.costs[cost] for p in shown],
        y=_short([p.rating for p in shown]),
        name="best for the cost",
        mode="lines+markers",
        line={"color": block_colour(0), "width": 1.5, "shape": "hv"},
        marker={"size": 5},
        text=[_hover(cost, p, space) for p in shown],
        hovertemplate="%{text}<extra></extra>",
    )
    if solved:
        for kind in dict.fromkeys(s.kind for s in solved.alternatives):
            _add_solutions(figure, cost, kind or "alternative", [s for s in solved.alternatives if s.kind == kind], space)
        _add_solutions(figure, cost, "solution", [solved.solution], space)
        _add_limits(figure, cost, solved)
    return figure


def thinned(points: Sequence[FrontPoint]) -> Sequence[FrontPoint]:
    """At most 400 of the points, evenly spread, both ends kept."""
    if len(points) <= _MAX_POINTS:
        return points
    return [points[i] for i in np.linspace(0, len(points) - 1, _MAX_POINTS).round().astype(int)]


def _add_solutions(figure: go.Figure, cost: str, kind: str, solutions: Sequence[Solution], space: SearchSpace) -> None:
    symbols = {"runner-up": "circle-open", "diverse": "square-open"}
    plain = {"symbol": symbols.get(kind, "triangle-up-open"), "size": 9, "color": OTHERS, "line": {"width": 1.6}}
    figure.add_scatter(
        x=[s.costs[cost] for s in solutions],
        y=_short([s.rating for s in solutions]),
        name=kind,
        mode="markers",
        marker=_chosen_marker() if kind == "solution" else plain,
        text=[_hover(cost, s, space) for s in solutions],
        hovertemplate="%{text}<extra>" + kind + "</extra>",
    )


def _add_limits(figure: go.Figure, cost: str, solved: Solved) -> None:
    budget = solved.budgets.get(cost)
    for name, limit in (("at most", budget.max), ("at least", budget.min)) if budget else ():
        if limit is not None:
            label = {"text": f"{name} {amount(limit)}", "textangle": 0, "yanchor": "top", "xanchor": "left", "xshift": 4}
            figure.add_vline(x=limit, line={"color": OTHERS, "width": 1.5, "dash": "dash"}, annotation=label)


def additivity_scatter(additivity: Additivity) -> go.Figure:
    """Predicted rating sums against the measured distance of the assembled networks; the first is the solution."""
    figure = _figure(x="predicted: sum of the blocks' ratings", y="measured: assembled network")
    parts = (
        ("random choices", slice(1, None), {"size": 8, "color": faded(block_colour(0), 0.65)}),
        ("solution", slice(0, 1), _chosen_marker()),
    )
    for name, part, marker in parts:
        xs, ys = _short(additivity.predicted[part]), _short(additivity.measured[part])
        figure.add_scatter(x=xs, y=ys, name=name, mode="markers", marker=marker)
    return figure


def _figure(*, x: str, y: str | None) -> go.Figure:
    axis = {"gridcolor": "rgba(128,136,148,0.2)", "zeroline": False, "automargin": True, "ticks": "", "title": {"standoff": 8}}
    return go.Figure(
        layout={
            "template": "none",
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 12, "color": TEACHER},
            "margin": {"l": 56, "r": 12, "t": 34, "b": 44},
            "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "itemsizing": "constant"},
            "hoverlabel": {"align": "left"},
            "xaxis": axis | {"title": {"text": x, "standoff": 8}},
            "yaxis": axis | {"title": {"text": y, "standoff": 8}},
        }
    )


def _chosen_marker() -> dict[str, object]:
    return {"symbol": "diamond", "size": 12, "color": STUDENT, "line": {"color": "white", "width": 1}}


def _hover(cost: str, found: FrontPoint | Solution, space: SearchSpace) -> str:
    blocks = "<br>".join(blocks_text(space.architecture(found.choice)))
    return f"rating {found.rating:.4g}, {amount(found.costs[cost])} {cost}<br>{blocks}"


def _cell_name(cell: CellSpec) -> str:
    return f"{cell.width}×{cell.depth}"


def _cell_summary(cell: CellSpec, rated: np.ndarray) -> str:
    return f"{_cell_name(cell)}: {rated.size:,} candidates, best {rated[0]:.4g}, median {np.median(rated):.4g}"


def _short(values: Sequence[float] | np.ndarray) -> list[float]:
    """Five significant digits: more would only fill the file."""
    return [float(f"{value:.5g}") for value in values]
