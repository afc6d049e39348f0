"""``distilnas shrink``: a smaller network with its teacher's weights, from a model and a folder of images."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from distilnas.cli.console import JsonOption, RichProgress, RunOption, VerboseOption, begin, console, print_json
from distilnas.cli.plan_presets import forecast_presets

_LIMIT = "{}: an amount (9M), a share of the teacher's (40%), or several for a family (75%,50%,25%)."
_IMAGES = "Folder of images, one folder a class (or train/ and test/ of them); the teacher names images in no folders."
_PRESET = "How much time to spend: quick, balanced or best."
_PLAN = "Only say what each preset would take here, from short probes; nothing is trained or written."
_BY_ORDER = "Take the values of the file in order, whatever their names."


def shrink(
    model: Annotated[str, typer.Argument(help="A timm model, or the folder of a student.")],
    images: Annotated[str, typer.Argument(help=_IMAGES)],
    weights: Annotated[str | None, typer.Option(help="The model's weights; default: timm's pretrained ones.")] = None,
    weights_by_order: Annotated[bool, typer.Option(help=_BY_ORDER)] = False,
    macs: Annotated[str | None, typer.Option(help=_LIMIT.format("Most multiply-adds"))] = None,
    params: Annotated[str | None, typer.Option(help=_LIMIT.format("Most parameters"))] = None,
    bytes: Annotated[str | None, typer.Option(help=_LIMIT.format("Most bytes of weights"))] = None,
    memory: Annotated[str | None, typer.Option(help=_LIMIT.format("Most bytes of activations at once"))] = None,
    latency: Annotated[str | None, typer.Option(help=_LIMIT.format("Most latency, e.g. 5ms"))] = None,
    runtime: Annotated[str | None, typer.Option(help="Of latency: onnxruntime (default) or torch.")] = None,
    device: Annotated[str | None, typer.Option(help="Of latency: cpu (default) or cuda.")] = None,
    threads: Annotated[int | None, typer.Option(help="Of latency; default: 1.")] = None,
    batch: Annotated[int | None, typer.Option(help="Of latency: images at a time; default: 1.")] = None,
    latency_table: Annotated[
        str | None, typer.Option(help="Latencies of another device: the file of `distilnas latency import`.")
    ] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Also export in 8 bits, and say which file to ship.")] = False,
    resolution: Annotated[int | None, typer.Option(help="Side of the images in pixels; default: the model's.")] = None,
    fit_epochs: Annotated[
        int | None, typer.Option(help="Fine-tune the model on the images first; default: 8 if its classes differ.")
    ] = None,
    preset: Annotated[str, typer.Option(help=_PRESET)] = "balanced",
    minutes: Annotated[float | None, typer.Option(help="Minutes that each student's recovery may take.")] = None,
    epochs: Annotated[
        float | None, typer.Option(help="Epochs of each recovery; default: half of the teacher's fit, or 4.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of all randomness.")] = 0,
    plan: Annotated[bool, typer.Option("--plan", help=_PLAN)] = False,
    run: RunOption = None,
    json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Shrink a trained network under a budget: it keeps its weights, is repaired, recovered, tested and exported.

    Called again, it continues; another budget is solved in seconds and only its student is made.
    """
    from distilnas.recipes.shrink.easy import budgets_of, run_folder, shrink_settings
    from distilnas.recipes.shrink.recipe import run_shrink

    begin()
    measured = {"runtime": runtime, "device": device, "threads": threads, "batch": batch, "table": latency_table}
    measured = {name: value for name, value in measured.items() if value is not None}
    asked = partial(
        shrink_settings,
        model,
        images,
        weights=weights,
        by_order=weights_by_order,
        budgets=budgets_of(
            {"macs": macs, "params": params, "bytes": bytes, "peak_memory": memory, "latency_ms": latency}
        ),
        resolution=resolution,
        fit_epochs=fit_epochs,
        minutes=minutes,
        epochs=epochs,
        more=({"latency": measured} if measured else {}) | ({"export": {"int8": True}} if int8 else {}),
        seed=seed,
    )
    if plan:
        forecast_presets(asked, json=json)
        return
    folder = run or run_folder(Path(model).name, Path(images).resolve().name, preset)
    summary = run_shrink(asked(preset=preset), folder, progress=RichProgress())
    if json:
        print_json(summary)
    else:
        show_shrunk(summary)
        console.print(f"  report       {folder / 'report.html'}", markup=False, highlight=False, soft_wrap=True)


def show_shrunk(summary: dict[str, Any]) -> None:
    """Teacher and students side by side on stdout."""
    from distilnas.tables.measures import ADDITIVE, MEASURES

    asked = {name for row in summary["students"] for name in row["budget"]}
    costs = [name for name in MEASURES if name in (asked | {*ADDITIVE, "latency_ms"}) & set(summary["teacher"])]
    table = Table(box=None, pad_edge=False)
    accuracy = "agreement with the teacher" if summary.get("labels") == "teacher" else "test top-1"
    for column in ("", accuracy, "untrained", *(MEASURES[name].title for name in costs)):
        table.add_column(column, justify="left" if not column else "right")
    teacher = summary["teacher"]
    table.add_row(f"teacher {teacher['name']}", f"{teacher['top1']:.2f} %", "", *_costs(costs, teacher, teacher))
    for row in summary["students"]:
        name = ", ".join(f"{measure} <= {limit}" for measure, limit in row["budget"].items())
        accuracies = (f"{row['top1']:.2f} %", f"{row['top1_before_training']:.2f} %")
        table.add_row(name, *accuracies, *_costs(costs, row, teacher))
    console.print(table)
    if timed := summary.get("latency"):
        console.print(_latency(timed, summary["students"]), markup=False, highlight=False, soft_wrap=True)
    for row in summary["students"]:
        if quantised := row["onnx"].get("int8"):
            lost = quantised["float32_top1"] - quantised["top1"]
            told = f"{quantised['ratio'][0]:.0%} of the float32 latency, {lost:.2f} points of held-out top-1 lost"
            console.print(f"  int8: {told}; ship {quantised['ship']}", markup=False, highlight=False, soft_wrap=True)
        console.print(f"  {row['artefacts']['weights']}", markup=False, highlight=False, soft_wrap=True)


def _costs(costs: list[str], row: dict[str, Any], teacher: dict[str, Any]) -> list[str]:
    known = [name for name in costs if name in row]
    texts = {name: f"{row[name]:,}" if isinstance(row[name], int) else f"{row[name]:.3g} ms" for name in known}
    shares = {name: "" if row is teacher else f" ({row[name] / teacher[name]:.0%})" for name in known}
    return [f"{texts[name]}{shares[name]}" if name in known else "" for name in costs]


def _latency(timed: dict[str, Any], students: list[dict[str, Any]]) -> str:
    """One line on where it was measured, and one a student."""
    how = f"{timed['threads']} thread(s), batch {timed['batch']}, {timed['processor']}"
    lines = [f"  latency in {timed['runtime']} {timed['version']}, {how}"]
    for row in (row["latency"] for row in students if "latency" in row):
        low, high = row["interval_ms"]
        word = "measured" if timed["measured_here"] else "by the table from elsewhere"
        lines.append(
            f"    limit {row['limit_ms']:.3g} ms: estimated {row['estimate_ms']:.3g}, {word} {row['measured_ms']:.3g} "
            f"({low:.3g} to {high:.3g}), {row['ratio'][0]:.0%} of the teacher's"
        )
    return "\n".join([*lines, *([f"  mind: {timed['doubt']}"] if timed["doubt"] else [])])
