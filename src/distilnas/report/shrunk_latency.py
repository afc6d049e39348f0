"""Figures on latency in the report of a shrinking run: estimates against measurements, MACs against time."""

import plotly.graph_objects as go

from distilnas.report.palette import OTHERS, block_colour
from distilnas.report.plotting import chosen_marker, new_figure, short
from distilnas.report.shrunk import ShrunkSummary


def latency_figures(found: ShrunkSummary) -> dict[str, go.Figure]:
    """By name; of a run without a limit on latency none."""
    if found.latency is None:
        return {}
    return {"estimates": _estimates(found), "macs_time": _macs_against_time(found)}


def _estimates(found: ShrunkSummary) -> go.Figure:
    """All networks that were measured: those that the sum of parts was fitted to, and students that were tried."""
    assert found.latency is not None
    figure = new_figure(x="estimate (ms)", y="measured (ms)")
    wholes = found.latency.wholes
    tried = [one for row in found.students if row.latency for one in row.latency.tried]
    figure.add_scatter(
        x=short(one.estimate_ms for one in wholes),
        y=short(one.measured_ms for one in wholes),
        name="fitted to, each by a fit without it",
        mode="markers",
        marker={"color": OTHERS, "size": 8},
    )
    for inside, name in ((True, "students, inside"), (False, "students, too slow")):
        some = [one for one in tried if one.inside is inside]
        figure.add_scatter(
            x=short(one.estimate_ms for one in some),
            y=short(one.measured_ms for one in some),
            error_y={
                "type": "data",
                "symmetric": False,
                "array": short(one.interval_ms[1] - one.measured_ms for one in some),
                "arrayminus": short(one.measured_ms - one.interval_ms[0] for one in some),
                "thickness": 1,
                "width": 3,
            },
            name=name,
            mode="markers",
            marker=chosen_marker() if inside else {"symbol": "x", "size": 9, "color": block_colour(3)},
        )
    most = max([one.measured_ms for one in (*wholes, *tried)], default=1.0)
    figure.add_scatter(x=[0, most], y=[0, most], name="equal", mode="lines", line={"color": OTHERS, "dash": "dot"})
    for limit in dict.fromkeys(row.latency.limit_ms for row in found.students if row.latency):
        figure.add_hline(y=limit, line={"color": OTHERS, "width": 1, "dash": "dash"})
    return figure


def _macs_against_time(found: ShrunkSummary) -> go.Figure:
    """What the forms of each unit keep of its MACs and of its latency; on the diagonal MACs tell the time."""
    assert found.latency is not None
    figure = new_figure(x="MACs kept (%)", y="latency kept (%)")
    named: set[int] = set()
    for unit in found.latency.candidates:
        figure.add_scatter(
            x=short(100 * point[0] for point in unit.shares),
            y=short(100 * point[1] for point in unit.shares),
            name=unit.name,
            legendgroup=str(unit.block),
            showlegend=unit.block not in named,
            mode="markers",
            marker={"color": block_colour(unit.block), "size": 6},
        )
        named.add(unit.block)
    figure.add_scatter(x=[0, 100], y=[0, 100], name="equal", mode="lines", line={"color": OTHERS, "dash": "dot"})
    return figure
