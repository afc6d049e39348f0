"""Plots of a search in the DARTS space: how the supernet shrinks, what presses it, and what it hands over."""

from collections.abc import Sequence

import plotly.graph_objects as go

from distilnas.records.dnad import ChosenRecord, FoundNetwork
from distilnas.records.steps import History
from distilnas.report.palette import OTHERS, TEACHER, block_colour, faded
from distilnas.report.plotting import chosen_marker, new_figure, short
from distilnas.report.wording import amount, percent
from distilnas.tables.measures import measure_info

_SIZES = {"ops": "ops", "params": measure_info("params").axis, "macs": measure_info("macs").axis, "sparsity": "S"}
_LOSSES = {
    "loss": "loss of the weights",
    "cross_entropy": "cross entropy",
    "imitation": "imitation",
    "alpha_loss": "loss of the alphas",
}
_REASONS = {"event": "star", "periodic": "circle", "end": "square"}


def shrinking(history: History) -> go.Figure:
    """Ops, parameters and multiply-adds of the derived network, and S, each in percent of its first value."""
    figure = new_figure(x="epoch", y="% of the first epoch")
    for n, (key, name) in enumerate(_SIZES.items()):
        epochs, values = history.curve(key)
        if values:
            _line(figure, epochs, [100 * value / values[0] for value in values], name, n)
            figure.data[-1].update(text=[amount(value) for value in values], hovertemplate="%{text}<extra>" + name)
    return figure.update_yaxes(rangemode="tozero")


def pressure(history: History) -> go.Figure:
    """gamma and mu at the end of each epoch, on a logarithmic scale."""
    figure = new_figure(x="epoch", y="strength")
    for n, (key, name) in enumerate({"gamma": "γ", "mu": "μ"}.items()):
        _line(figure, *history.curve(key), name, n)
    return figure.update_yaxes(type="log")


def losses(history: History) -> go.Figure:
    """The parts of the training loss that the search has."""
    figure = new_figure(x="epoch", y="loss")
    for n, (key, name) in enumerate(_LOSSES.items()):
        epochs, values = history.curve(key)
        if any(values):
            _line(figure, epochs, values, name, n)
    return figure.update_yaxes(rangemode="tozero")


def archive(found: Sequence[FoundNetwork], chosen: ChosenRecord | None) -> go.Figure:
    """Held-out accuracy of the supernet against the derived network's multiply-adds, the front and the choice."""
    figure = new_figure(x=measure_info("macs").axis, y="held-out accuracy of the supernet (%)")
    front = sorted((network for network in found if network.front), key=lambda network: network.macs)
    line = {"color": faded(TEACHER, 0.8), "width": 1.5, "shape": "hv"}
    figure.add_scatter(
        x=[n.macs for n in front], y=short(n.accuracy for n in front), name="front", mode="lines", line=line
    )
    for n, (reason, symbol) in enumerate(_REASONS.items()):
        marker = {"symbol": symbol, "size": 11 if reason == "event" else 8, "color": block_colour(n)}
        _points(figure, [network for network in found if network.reason == reason], f"{reason} snapshot", marker)
    if chosen:
        _points(figure, [chosen.solution], "chosen", chosen_marker())
        budget = chosen.budgets.get("macs")
        for limit in (budget.min, budget.max) if budget else ():
            if limit is not None:
                figure.add_vline(x=limit, line={"color": OTHERS, "width": 1.5, "dash": "dash"})
    return figure


def _line(figure: go.Figure, epochs: list[int], values: list[float], name: str, colour: int) -> None:
    mode = "lines" if len(epochs) > 1 else "markers"
    figure.add_scatter(x=epochs, y=short(values), name=name, mode=mode, line={"color": block_colour(colour)})


def _points(figure: go.Figure, found: Sequence[FoundNetwork], name: str, marker: dict[str, object]) -> None:
    if not found:
        return
    figure.add_scatter(
        x=[network.macs for network in found],
        y=short(network.accuracy for network in found),
        name=name,
        mode="markers",
        marker=marker,
        text=[f"step {n.step}: {percent(n.accuracy)}, {amount(n.macs)} MACs, {amount(n.params)} params" for n in found],
        hovertemplate="%{text}<extra>" + name + "</extra>",
    )
