"""The report's plots: plotly figures as functions of records; transparent, so that the page's theme shows."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from distilnas.records.solution import Additivity, Solved, SolvedNetwork
from distilnas.records.steps import History, Measured
from distilnas.report.palette import OTHERS, STUDENT, TEACHER, block_colour, faded
from distilnas.report.plotting import chosen_marker, new_figure, short
from distilnas.report.wording import blocks_text, cost_amount, cost_name, percent, sizes
from distilnas.space import SearchSpace
from distilnas.tables.measures import measure_info

_MAX_POINTS = 400
_FEW_EPOCHS = 10


def loss_curves(history: History, num_blocks: int, label: str = "loss") -> go.Figure:
    """Distillation loss over epochs, one line per block."""
    figure = new_figure(x="epoch", y=label)
    for b in range(num_blocks):
        epochs, losses = history.curve(f"block {b + 1}")
        mode = "lines" if len(epochs) > 1 else "markers"
        figure.add_scatter(
            x=epochs, y=losses, name=f"block {b + 1}", mode=mode, line={"color": block_colour(b), "width": 2}
        )
    figure.update_yaxes(rangemode="tozero")
    _whole_epochs(figure, [history])
    return figure


def training_curves(
    key: str, label: str, *, teacher: History | None, student: History | None, random: Sequence[History]
) -> go.Figure:
    """``key`` of the training logs over epochs: random networks thin, teacher and student on top."""
    figure = new_figure(x="epoch", y=label)
    lines = [(history, "random networks", faded(OTHERS, 0.6), 1.0) for history in random]
    lines += [(teacher, "teacher", TEACHER, 2.0)] if teacher else []
    lines += [(student, "student", STUDENT, 2.5)] if student else []
    for n, (history, name, colour, width) in enumerate(lines):
        epochs, values = history.curve(key)
        first_of_name = n == 0 or lines[n - 1][1] != name
        style = {"color": colour, "width": width}
        mode = "lines" if len(epochs) > 1 else "markers"
        figure.add_scatter(
            x=epochs, y=values, name=name, mode=mode, line=style, legendgroup=name, showlegend=first_of_name
        )
    _whole_epochs(figure, [history for history, *_ in lines])
    return figure


def _whole_epochs(figure: go.Figure, histories: Sequence[History]) -> None:
    if all(len(history.epochs) <= _FEW_EPOCHS for history in histories):
        figure.update_xaxes(dtick=1)


def accuracy_by_macs(student: Measured, random: Sequence[Measured]) -> go.Figure:
    """Student among random networks of the same budget, trained equally."""
    figure = new_figure(x=measure_info("macs").axis, y="top-1 (%)")
    for nets, name, marker in (
        (random, "random networks", {"size": 9, "color": faded(OTHERS, 0.75)}),
        ([student], "student", chosen_marker()),
    ):
        figure.add_scatter(
            x=[net.costs.get("macs") for net in nets],
            y=[net.top1 for net in nets],
            name=name,
            mode="markers",
            marker=marker,
            text=[f"{percent(net.top1)}, {sizes(net)}" for net in nets],
            hovertemplate="%{text}<extra>%{fullData.name}</extra>",
        )
    return figure


def accuracy_over_rounds(
    cost: str, teachers: Sequence[tuple[int, Measured]], students: Sequence[tuple[int, Measured]]
) -> go.Figure:
    """Teachers and students of the rounds (from 1) by ``cost``, each joined in the order of the rounds."""
    figure = new_figure(x=measure_info(cost).axis, y="top-1 (%)")
    for name, colour, networks in (("teachers", TEACHER, teachers), ("students", STUDENT, students)):
        figure.add_scatter(
            x=[net.costs.get(cost) for _, net in networks],
            y=[net.top1 for _, net in networks],
            name=name,
            mode="lines+markers+text",
            line={"color": faded(colour, 0.5), "width": 1.5},
            marker={"size": 10, "color": colour},
            text=[str(number) for number, _ in networks],
            textposition="top center",
            hovertext=[f"round {number}: {percent(net.top1)}, {sizes(net)}" for number, net in networks],
            hovertemplate="%{hovertext}<extra>%{fullData.name}</extra>",
        )
    return figure


def channel_similarity(block: np.ndarray, assembled: np.ndarray) -> go.Figure:
    """Correlations (C,) of the student's channels with the teacher's, each sorted; those that are NaN are left out."""
    figure, lowest = new_figure(x="channels, least alike first (%)", y="correlation"), 0.0
    for name, values, line in (
        ("fed by the teacher", block, {"color": STUDENT, "width": 2.5}),
        ("assembled", assembled, {"color": OTHERS, "width": 2, "dash": "dot"}),
    ):
        found = np.sort(values[np.isfinite(values)])
        kept = _evenly(found.size)
        share = 100 * (kept + 0.5) / max(found.size, 1)
        mode = "lines" if found.size > 1 else "markers"
        figure.add_scatter(x=short(share), y=short(found[kept]), name=name, mode=mode, line=line)
        lowest = min([lowest, *found[:1]])
    figure.update_xaxes(range=[0, 100])
    return figure.update_yaxes(range=[lowest - 0.02, 1.02])


def pareto_front(cost: str, points: Sequence[SolvedNetwork], space: SearchSpace, solved: Solved | None) -> go.Figure:
    """Best rating for every budget of ``cost``, with the budget's limits, the solution and its alternatives."""
    figure = new_figure(x=measure_info(cost).axis, y="rating (lower is better)")
    shown = sorted(thinned(points), key=lambda p: p.costs[cost])
    figure.add_scatter(
        x=[p.costs[cost] for p in shown],
        y=short([p.rating for p in shown]),
        name="best for the cost",
        mode="lines+markers",
        line={"color": block_colour(0), "width": 1.5, "shape": "hv"},
        marker={"size": 5},
        text=[_hover(cost, p, space) for p in shown],
        hovertemplate="%{text}<extra></extra>",
    )
    if solved:
        for kind in dict.fromkeys(s.kind for s in solved.alternatives):
            _add_solutions(
                figure, cost, kind or "alternative", [s for s in solved.alternatives if s.kind == kind], space
            )
        _add_solutions(figure, cost, "solution", [solved.solution], space)
        _add_limits(figure, cost, solved)
    return figure


def thinned(points: Sequence[SolvedNetwork]) -> Sequence[SolvedNetwork]:
    """At most 400 of the points, evenly spread, both ends kept."""
    return points if len(points) <= _MAX_POINTS else [points[i] for i in _evenly(len(points))]


def _evenly(number: int) -> np.ndarray:
    """Indices of at most 400 of so many things in a row, both ends among them."""
    return np.linspace(0, number - 1, min(number, _MAX_POINTS)).round().astype(int)


def _add_solutions(
    figure: go.Figure, cost: str, kind: str, solutions: Sequence[SolvedNetwork], space: SearchSpace
) -> None:
    symbols = {"runner-up": "circle-open", "diverse": "square-open"}
    plain = {"symbol": symbols.get(kind, "triangle-up-open"), "size": 9, "color": OTHERS, "line": {"width": 1.6}}
    figure.add_scatter(
        x=[s.costs[cost] for s in solutions],
        y=short([s.rating for s in solutions]),
        name=kind,
        mode="markers",
        marker=chosen_marker() if kind == "solution" else plain,
        text=[_hover(cost, s, space) for s in solutions],
        hovertemplate="%{text}<extra>" + kind + "</extra>",
    )


def _add_limits(figure: go.Figure, cost: str, solved: Solved) -> None:
    budget = solved.budgets.get(cost)
    for name, limit in (("at most", budget.max), ("at least", budget.min)) if budget else ():
        if limit is not None:
            label = {
                "text": f"{name} {cost_amount(limit, cost)}",
                "textangle": 0,
                "yanchor": "top",
                "xanchor": "left",
                "xshift": 4,
            }
            figure.add_vline(x=limit, line={"color": OTHERS, "width": 1.5, "dash": "dash"}, annotation=label)


def additivity_scatter(additivity: Additivity) -> go.Figure:
    """Predicted rating sums against the measured distance of the assembled networks; the first is the solution."""
    figure = new_figure(x="predicted: sum of the blocks' ratings", y="measured: assembled network")
    parts = (
        ("random choices", slice(1, None), {"size": 8, "color": faded(block_colour(0), 0.65)}),
        ("solution", slice(0, 1), chosen_marker()),
    )
    for name, part, marker in parts:
        xs, ys = short(additivity.predicted[part]), short(additivity.measured[part])
        figure.add_scatter(x=xs, y=ys, name=name, mode="markers", marker=marker)
    return figure


def _hover(cost: str, found: SolvedNetwork, space: SearchSpace) -> str:
    blocks = "<br>".join(blocks_text(space.architecture(found.choice)))
    return f"rating {found.rating:.4g}, {cost_amount(found.costs[cost], cost)} {cost_name(cost)}<br>{blocks}"
