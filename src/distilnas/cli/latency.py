"""``distilnas latency``: a library measured on another device."""

from pathlib import Path
from typing import Annotated, Any

import typer

from distilnas.cli.console import JsonOption, RichProgress, VerboseOption, begin, console, print_json
from distilnas.errors import UsageError

app = typer.Typer(help="Latencies of another device: export, import.", no_args_is_help=True)


@app.command("export")
def export_(
    run: Annotated[Path, typer.Argument(help="A run of `distilnas shrink`; its library is made if it is not there.")],
    folder: Annotated[Path, typer.Argument(help="A new folder, to be measured on the device.")],
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int, typer.Option(help="Of one operator.")] = 1,
    batch: Annotated[int, typer.Option(help="Images at a time.")] = 1,
    json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Write a library's pieces, and the one Python file that measures them elsewhere with numpy and onnxruntime."""
    from distilnas.latency import LatencySettings
    from distilnas.latency.portable import SCRIPT, write_folder
    from distilnas.recipes.catalogue import load_settings
    from distilnas.recipes.shrink.recipe import library_of
    from distilnas.recipes.shrink.settings import ShrinkSettings

    begin()
    if not (run / "config.yaml").is_file():
        raise UsageError(f"{run} is not a run folder (it has no config.yaml); give that of a run of the recipe shrink.")
    settings, progress = load_settings(str(run / "config.yaml")), RichProgress()
    if not isinstance(settings, ShrinkSettings):
        raise UsageError(f"latencies are those of a library of the recipe shrink; {run} is of {settings.recipe!r}.")
    asked = LatencySettings(device=device, threads=threads, batch=batch)  # type: ignore[arg-type]
    write_folder(folder, library_of(settings, run, progress), asked, progress)
    size = sum(path.stat().st_size for path in folder.iterdir())
    if json:
        print_json({"folder": str(folder), "bytes": size})
    else:
        told = (
            f"{folder} ({size / 1e6:.0f} MB): on the device run `python {SCRIPT} .` in it three times, then import it."
        )
        console.print(told, markup=False, highlight=False, soft_wrap=True)


@app.command("import")
def import_(
    folder: Annotated[Path, typer.Argument(help="An exported folder, measured on its device.")],
    out: Annotated[Path | None, typer.Option(help="The table's file; default: table.json in the folder.")] = None,
    json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Make the table that `distilnas shrink --latency 5ms --latency-table FILE` takes."""
    from distilnas.files import write_json
    from distilnas.latency.portable import read_folder

    table, path = read_folder(folder), out or folder / "table.json"
    write_json(path, table.to_dict())
    record: dict[str, Any] = {
        "table": str(path),
        "processor": table.processor,
        "runtime": f"{table.settings.runtime} {table.version}",
        "threads": table.settings.threads,
        "teacher_ms": table.teacher.median,
        "error": table.error,
        "doubt": table.doubt,
    }
    if json:
        print_json(record)
    else:
        print("\n".join(f"{name:10s} {value}" for name, value in record.items() if value is not None))
