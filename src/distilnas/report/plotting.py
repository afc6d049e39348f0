"""What all plots of the report share: look, mark of the solution, short numbers."""

from collections.abc import Iterable
from typing import Any

import plotly.graph_objects as go

from distilnas.report.palette import STUDENT, TEACHER


def new_figure(*, x: str, y: str | None) -> go.Figure:
    """An empty plot with axis titles; the page sets text colours by its theme."""
    axis = {
        "gridcolor": "rgba(128,136,148,0.2)",
        "zeroline": False,
        "automargin": True,
        "ticks": "",
    }
    return go.Figure(
        layout={
            "template": "none",
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {
                "family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif",
                "size": 12,
                "color": TEACHER,
            },
            "margin": {"l": 56, "r": 12, "t": 34, "b": 44},
            "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "itemsizing": "trace"},
            "hoverlabel": {"align": "left"},
            "xaxis": axis | {"title": {"text": x, "standoff": 8}},
            "yaxis": axis | {"title": {"text": y, "standoff": 8}},
        }
    )


def chosen_marker() -> dict[str, object]:
    """How the solution and its candidates are marked in every plot."""
    return {"symbol": "diamond", "size": 12, "color": STUDENT, "line": {"color": "white", "width": 1}}


def short(values: Iterable[Any]) -> list[float]:
    """Five significant digits: more would only fill the file."""
    return [float(f"{value:.5g}") for value in values]
