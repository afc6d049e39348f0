"""``distilnas bench``: speed of the main jobs against plain references."""

from pathlib import Path
from typing import Annotated, Any

import typer

from distilnas.cli.console import JsonOption, VerboseOption, print_json


def bench(
    name: Annotated[str, typer.Argument(help="distill[-cifar], rate, solve, retrain, shrink, scale or processes.")],
    quick: Annotated[
        bool, typer.Option("--quick", help="Tiny sizes, one turn: does it work? Not for numbers.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Also write the JSON record to this file.")] = None,
    batch: Annotated[
        int | None, typer.Option(help="Images at a time; default: the benchmark's for the device.")
    ] = None,
    repeats: Annotated[int, typer.Option(help="Timed turns of every alternative; the median counts.")] = 5,
    threads: Annotated[int | None, typer.Option(help="Threads on a CPU; default: torch's own choice.")] = None,
    accelerator: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Time a main job, a plain reference of it and what the device allows, in turns, and check that results agree."""
    import os

    os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # the memory profiler reports its own start otherwise
    from distilnas.bench import BenchSettings, benchmark
    from distilnas.files import write_json
    from distilnas.runtime.device import keep_freed_memory

    keep_freed_memory()
    settings = BenchSettings(accelerator=accelerator, threads=threads, repeats=repeats, batch=batch, quick=quick)
    record = benchmark(name, settings).to_dict(settings.device())
    if out is not None:
        write_json(out, record)
    print_json(record) if json else print("\n".join(_lines(record)))


def _lines(record: dict[str, Any]) -> list[str]:
    """The record's main numbers."""
    rates = next(value for key, value in record.items() if key.endswith("_per_second"))
    unit = next(key for key in record if key.endswith("_per_second")).replace("_", " ")
    lines = [record["what"], ""]
    lines += [
        f"{name:26s} {seconds:10.4f} s {rates[name]:14.1f} {unit}" for name, seconds in record["seconds_median"].items()
    ]
    lines += ["", f"{record['ours']} is {record['ratio']:.2f} times as fast as {record['baseline']}"]
    lines += [f"{floor['reached']:.0%} of the floor: {name}" for name, floor in record["floors"].items()]
    return [*lines, *(f"{name}: {value:.3g}" for name, value in record["equal"].items())]
