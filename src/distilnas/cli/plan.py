"""``distilnas plan``: how long, how much memory and disk a configuration would take here."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from distilnas.cli.console import JsonOption, RichProgress, VerboseOption, console, print_json

if TYPE_CHECKING:
    from distilnas.recipes.planning.forecast import Forecast

_SMALL_HOURS, _MINUTE = 3600, 60


def plan(
    config: Annotated[str, typer.Argument(help="A shipped configuration (see `distilnas config ls`) or a YAML file.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="Settings as key.sub=value.")] = None,
    seconds: Annotated[float, typer.Option(help="About how long the probe may take.")] = 60.0,
    devices: Annotated[int, typer.Option(help="Project to so many devices like this one.")] = 1,
    images: Annotated[
        int | None, typer.Option(help="Training images, where data.path is not here (before any are held out).")
    ] = None,
    classes: Annotated[int | None, typer.Option(help="Classes, where data.path is not here.")] = None,
    architecture: Annotated[
        Path | None, typer.Option(help="Architecture file to take for the student that a search would find.")
    ] = None,
    json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Forecast hours, memory and disk of every step from a short probe on this device; runs and writes nothing."""
    from distilnas.recipes.catalogue import load_settings
    from distilnas.recipes.planner import plan as forecast
    from distilnas.recipes.retrain.network import NetworkSettings, read_network
    from distilnas.runtime.device import keep_freed_memory

    keep_freed_memory()
    student = read_network(NetworkSettings(file=str(architecture)), None).architecture if architecture else None
    found = forecast(
        load_settings(config, tuple(overrides or ())),
        seconds=seconds,
        devices=devices,
        images=images,
        classes=classes,
        architecture=student,
        progress=RichProgress(),
    )
    print_json(found.to_dict()) if json else show(found)


def show(forecast: "Forecast") -> None:
    """The forecast as a table on stdout, what it assumes and what it advises."""
    several = f" x {forecast.devices}, projected" if forecast.devices > 1 else ""
    table = Table(box=None, pad_edge=False)
    for column in ("step", f"time on {forecast.device}{several}", "memory", "disk", ""):
        table.add_column(column, justify="left" if column in ("step", "") else "right")
    for step in forecast.steps:
        table.add_row(
            step.name, time_text(forecast.seconds(step)), _size(step.memory_mb), _size(step.disk_mb or None), step.note
        )
    sums = (time_text(forecast.total_seconds), _size(forecast.memory_mb), _size(forecast.disk_peak_mb))
    table.add_row(Text("in all", style="bold"), *sums, "disk: with the largest checkpoint")
    console.print(table)
    numbers = ", ".join(f"{n:,} {part}" for part, n in forecast.images.items() if isinstance(n, int))
    console.print(f"images: {numbers} ({forecast.images['from']})", highlight=False)
    for text in (*forecast.assumptions, *(f"Mind: {text}" for text in forecast.advice)):
        console.print(f"- {text}", highlight=False)


def time_text(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds >= _SMALL_HOURS:
        return f"{seconds / 3600:,.1f} h"
    return f"{seconds / 60:.1f} min" if seconds >= _MINUTE else f"{seconds:.1f} s"


def _size(megabytes: float | None) -> str:
    if megabytes is None:
        return ""
    return f"{megabytes / 1e3:,.1f} GB" if megabytes >= 1e3 else f"{megabytes:,.1f} MB"
