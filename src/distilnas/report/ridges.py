"""The plot of a block's ratings: one row per cell, whatever the number of its paths, in a few kilobytes."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from distilnas.report.palette import STUDENT, block_colour, faded
from distilnas.report.plotting import chosen_marker, new_figure, short
from distilnas.space import BlockSpec, Candidate
from distilnas.tables import CellRatings

_MIN_BINS, _MAX_BINS = 12, 60
_FEW = 64
_PEAK = 0.8
_MIDDLE = 0.25


def block_ratings(number: int, block: BlockSpec, ratings: Sequence[CellRatings], chosen: Candidate | None) -> go.Figure:
    """Ratings of the candidates of block ``number`` (from 0): all of a cell of up to 64, else a histogram's outline.

    Candidates without a finite rating are left out. ``chosen`` is marked with its standard error.
    """
    figure = new_figure(x="rating (lower is better)", y=None)
    names = [family.name.replace("x", "×") for family in block.families]
    for row, (name, table) in enumerate(zip(names, ratings, strict=True)):
        rated = np.sort(table.mean[np.isfinite(table.mean)])
        if rated.size:
            draw = _add_ticks if rated.size <= _FEW else _add_outline
            draw(figure, row, _summary(name, rated), rated, block_colour(number))
    if chosen is not None:
        _add_chosen(figure, block, ratings[chosen.cell], chosen)
    rows = [row + _MIDDLE for row in range(len(names))]
    figure.update_yaxes(tickvals=rows, ticktext=names, range=[-0.2, len(names)], showgrid=False)
    return figure.update_layout(showlegend=False, margin_t=8)


def _add_outline(figure: go.Figure, row: int, summary: str, rated: np.ndarray, colour: str) -> None:
    bins = int(np.clip(np.sqrt(rated.size), _MIN_BINS, _MAX_BINS))
    counts, edges = np.histogram(rated, bins=bins)
    heights = row + _PEAK * counts / counts.max()
    centres = (edges[:-1] + edges[1:]) / 2
    figure.add_scatter(
        x=short([edges[0], *centres, edges[-1]]),
        y=short([row, *heights, row]),
        mode="lines",
        fill="toself",
        fillcolor=faded(colour, 0.28),
        line={"color": colour, "width": 1.2},
        hoveron="fills",
        hoverinfo="text",
        text=summary,
    )


def _add_ticks(figure: go.Figure, row: int, summary: str, rated: np.ndarray, colour: str) -> None:
    figure.add_scatter(
        x=short(rated),
        y=[row + _MIDDLE] * rated.size,
        mode="markers",
        marker={"symbol": "line-ns", "size": 14, "line": {"color": colour, "width": 1.6}},
        hovertemplate="%{x:.4g}<extra>" + summary + "</extra>",
    )


def _add_chosen(figure: go.Figure, block: BlockSpec, table: CellRatings, chosen: Candidate) -> None:
    mean, error = float(table.mean[chosen.path]), float(table.stderr[chosen.path])
    rank = int((table.mean < mean).sum()) + 1
    filling = block.families[chosen.cell].fill(chosen.path, stride=block.stride)
    figure.add_scatter(
        x=[mean],
        y=[chosen.cell + _MIDDLE],
        error_x={"array": [error], "color": STUDENT, "thickness": 1.5, "width": 3},
        mode="markers",
        marker=chosen_marker(),
        text=[f"chosen: {filling.line}<br>{mean:.4g} ± {error:.2g}, rank {rank} in its cell"],
        hovertemplate="%{text}<extra></extra>",
    )


def _summary(name: str, rated: np.ndarray) -> str:
    return f"{name}: {rated.size:,} candidates, best {rated[0]:.4g}, median {np.median(rated):.4g}"
