"""What every preset of ``distilnas shrink`` would take on this machine."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rich.table import Table

from distilnas.cli.console import RichProgress, console, print_json

if TYPE_CHECKING:
    from distilnas.recipes.planning.forecast import Forecast

_SECONDS = 20.0  # of the probe, for each preset
_MANY = 5.0  # fits of the teacher


def forecast_presets(settings: Callable[..., Any], *, json: bool) -> None:
    """``settings(preset=NAME)`` gives what is forecast; one record, or a table on stdout."""
    from distilnas.recipes.planner import plan
    from distilnas.recipes.shrink.presets import PRESETS

    progress = RichProgress()
    found = {}
    for name in PRESETS:
        progress.message(f"preset {name}")
        found[name] = plan(settings(preset=name), seconds=_SECONDS, progress=progress)
    if json:
        print_json({name: forecast.to_dict() for name, forecast in found.items()})
        return
    show(found)


def show(found: dict[str, "Forecast"]) -> None:
    """Seconds by step and preset, and which preset costs many times its teacher's fit."""
    from distilnas.cli.plan import time_text

    table = Table(box=None, pad_edge=False)
    for column in ("step", *found):
        table.add_column(column, justify="left" if column == "step" else "right")
    steps = [{step.name: forecast.seconds(step) for step in forecast.steps} for forecast in found.values()]
    for name in dict.fromkeys(name for one in steps for name, seconds in one.items() if seconds is not None):
        table.add_row(name, *(time_text(one.get(name)) for one in steps))
    table.add_row("in all", *(time_text(forecast.total_seconds) for forecast in found.values()))
    console.print(table)
    for (name, forecast), one in zip(found.items(), steps, strict=True):
        if (times := fits_of(one, forecast.total_seconds)) > _MANY:
            console.print(
                f"Mind: with {name} all else takes {times:.0f} times as long as the teacher's fit.", highlight=False
            )


def fits_of(seconds: dict[str, float | None], total: float) -> float:
    """How many fits of the teacher all else takes; 0 where none is fitted here."""
    fit = seconds.get("teacher") or 0.0
    return (total - fit) / fit if fit else 0.0
