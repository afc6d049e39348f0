"""Scatter of scores against true accuracies as one HTML file that works offline."""

import html
from collections.abc import Sequence
from pathlib import Path

import plotly.graph_objects as go

from distilnas.files import write_text
from distilnas.ranking.budgets import Pick
from distilnas.ranking.comparison import Comparison
from distilnas.report.palette import OTHERS, block_colour, faded
from distilnas.report.plotting import chosen_marker, new_figure, short

_MAX_POINTS = 20_000
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline'; \
style-src 'unsafe-inline'; img-src data: blob:">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>body {{ margin: 1.5rem auto; max-width: 60rem; padding: 0 1rem; font: 16px/1.5 system-ui, sans-serif }}</style>
</head>
<body>
<h1 style="font-size: 1.15rem; font-weight: 600">{title}</h1>
{figure}
</body>
</html>
"""


def write_scatter(path: Path, comparison: Comparison, picks: Sequence[Pick], *, title: str) -> None:
    """Every network as a point (of more than 20,000 an even selection), the picks of the scores and the best marked."""
    figure = scatter(comparison, picks)
    div = figure.to_html(full_html=False, include_plotlyjs=True, config={"displayModeBar": False}, default_height=560)
    write_text(path, _PAGE.format(title=html.escape(title), figure=div))


def scatter(comparison: Comparison, picks: Sequence[Pick]) -> go.Figure:
    """Scores to the right, higher is better; true accuracy upwards."""
    figure = new_figure(x="score (higher is better)", y="true accuracy")
    places = {name: place for place, name in enumerate(comparison.names)}
    step = -(-len(places) // _MAX_POINTS)
    plain = {"size": 4, "color": faded(block_colour(0), 0.35)}
    best = {"symbol": "circle-open", "size": 11, "color": OTHERS, "line": {"width": 2}}
    for label, where, marker in (
        ("networks", range(0, len(places), step), plain),
        ("best that fits", [places[found.best] for found in picks], best),
        ("best-scored that fits", [places[name] for found in picks for name in found.picked[:1]], chosen_marker()),
    ):
        figure.add_scatter(
            x=short(comparison.scores[i] for i in where),
            y=short(comparison.truth[i] for i in where),
            name=label,
            mode="markers",
            marker=marker,
            text=[_hover(comparison, i) for i in where],
            hovertemplate="%{text}<extra></extra>",
        )
    return figure


def _hover(comparison: Comparison, i: int) -> str:
    costs = "".join(f"<br>{values[i]:,.0f} {cost}" for cost, values in comparison.costs.items())
    return f"{html.escape(comparison.names[i])}<br>{comparison.truth[i]:.4g}{costs}"
