"""``distilnas zoo``: published networks and those of the user's runs, with their exact counts."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from distilnas.cli.console import JsonOption, VerboseOption, console, print_json
from distilnas.errors import UsageError

if TYPE_CHECKING:
    from distilnas.cli.zoo_runs import RunNetwork
    from distilnas.networks.published import ZooEntry

app = typer.Typer(help="Networks, published or found: list, show, export.", no_args_is_help=True)

RunsOption = Annotated[
    list[Path] | None, typer.Option("--run", help="A run, or a folder of runs: their networks instead. Repeatable.")
]
VariantOption = Annotated[str | None, typer.Option(help="Variant of a network that has several; default: the first.")]

_WORDS = ("network", "run", "roles", "source")


@app.command()
def ls(
    run: RunsOption = None,
    front: Annotated[bool, typer.Option("--front", help="With --run: also the whole Pareto fronts.")] = False,
    json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Published networks with parameters, MACs and accuracy (--json: their names), or the networks of runs."""
    if front and not run:
        raise UsageError("--front shows the Pareto fronts of runs: give a run with --run.")
    if run:
        _list_runs(run, front, json)
    elif json:
        from distilnas.networks.zoo import zoo_names

        print_json(list(zoo_names()))
    else:
        _list_published()


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A name of `zoo ls`; with --run the beginning of a network's hash.")],
    run: RunsOption = None,
    variant: VariantOption = None,
    num_classes: Annotated[
        int | None, typer.Option(min=1, help="Classes; default: as published, or the run's.")
    ] = None,
    resolution: Annotated[int | None, typer.Option(min=1, help="Image side in pixels; default as above.")] = None,
    json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Parameters, MACs, accuracy (as published, or as tested in the run) and architecture of a network."""
    if run and variant:
        raise UsageError("only published networks have variants: give --run or --variant, not both.")
    if run:
        from distilnas.cli.zoo_runs import find_network, read_networks

        record = _describe_found(find_network(read_networks(run, fronts=True), name), num_classes, resolution)
    else:
        from distilnas.networks.zoo import zoo_entry

        record = _describe_published(zoo_entry(name, variant), num_classes, resolution)
    print_json(record) if json else print("\n".join(f"{key:13s} {_text(value)}" for key, value in record.items()))


@app.command()
def export(
    name: Annotated[str, typer.Argument(help="A name of `zoo ls`.")],
    weights: Annotated[Path, typer.Option(help="The authors' checkpoint (.pth.tar, .pth, .safetensors, ...).")],
    out: Annotated[Path, typer.Option(help="Folder to write: new or empty.")],
    variant: VariantOption = None,
    ema: Annotated[bool, typer.Option(help="Prefer averaged weights, where the file has them.")] = True,
    json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Check a checkpoint against a published network and write both as a student folder, which other verbs read."""
    from distilnas.data import Preprocessing
    from distilnas.networks import StudentNet, save_student
    from distilnas.networks.checkpoints import create_published
    from distilnas.networks.zoo import zoo_entry
    from distilnas.space import Architecture

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} must be a new or empty folder, but is not: give another with --out.")
    entry = zoo_entry(name, variant)
    if not isinstance(entry.architecture, Architecture):
        raise UsageError(f"{name} is not a student but timm's {entry.model}: load its weights with timm.")
    model = create_published(name, weights, variant=variant, ema=ema)
    assert isinstance(model, StudentNet)
    preprocessing = Preprocessing.from_timm(model)
    save_student(out, model, classes=_class_names(model.num_classes), preprocessing=preprocessing.to_dict())
    record = {
        "name": entry.name,
        "student": str(out),
        "hash": entry.architecture.fingerprint,
        "num_classes": model.num_classes,
        "resolution": preprocessing.resolution,
    }
    print_json(record) if json else print(f"{entry.name} with {model.num_classes} classes written to {out}")


def _class_names(number: int) -> tuple[str, ...]:
    """ImageNet's class folders for its number of classes; a checkpoint does not say, so else plain numbers."""
    from timm.data import ImageNetInfo

    imagenet = tuple(ImageNetInfo().label_names())
    return imagenet if number == len(imagenet) else tuple(str(i) for i in range(number))


def _list_published() -> None:
    from distilnas.networks.zoo import zoo_entries
    from distilnas.tables.measures import EXACT, measure_info, shown

    entries = zoo_entries()
    sources = list(dict.fromkeys(entry.source for entry in entries))
    costs = shown(EXACT)
    table = _table("network", "px", *(measure_info(cost).title for cost in costs), "top-1", "source")
    for entry in entries:
        record = _describe_published(entry, None, None)
        label = f"{entry.name} ({entry.variant})" if entry.variant else entry.name
        amounts = (f"{record[cost]:,}" for cost in costs)
        numbers = (str(record["resolution"]), *amounts, _percent(entry.top1))
        table.add_row(label, *numbers, str(sources.index(entry.source) + 1))
    _print(table)
    for number, source in enumerate(sources, start=1):
        console.print(f"source {number}: {source}", highlight=False, soft_wrap=True)


def _list_runs(folders: list[Path], front: bool, as_json: bool) -> None:
    from distilnas.cli.zoo_runs import read_networks
    from distilnas.tables.measures import EXACT, measure_info, shown

    networks = read_networks(folders, fronts=front)
    if as_json:
        print_json([network.to_dict() for network in networks])
        return
    costs = shown(EXACT)
    table = _table("network", "run", *(measure_info(cost).title for cost in costs), "rating", "top-1", "roles")
    for n in networks:
        rating = "" if n.rating is None else f"{n.rating:.4f}"
        amounts = (f"{n.costs[cost]:,}" if cost in n.costs else "" for cost in costs)
        table.add_row(n.name, n.run, *amounts, rating, _percent(n.top1), ", ".join(n.roles))
    _print(table)


def _describe_published(entry: "ZooEntry", num_classes: int | None, resolution: int | None) -> dict[str, Any]:
    """The record of a published network; accuracies hold for the published classes and resolution only."""
    import torch

    from distilnas.networks.zoo import create_entry

    with torch.device("meta"):  # nothing but shapes is needed
        model = create_entry(entry, num_classes=num_classes)
    record = {"name": entry.name} | ({"variant": entry.variant} if entry.variant else {})
    record |= _counts(model, resolution or entry.resolution)
    record |= {"top1": entry.top1, "top5": entry.top5, "dataset": entry.dataset, "source": entry.source}
    return record | ({"architecture": str(entry.architecture)} if entry.architecture else {})


def _describe_found(network: "RunNetwork", num_classes: int | None, resolution: int | None) -> dict[str, Any]:
    """The record of a run's network; the accuracy holds for the run's classes and resolution only."""
    import torch

    from distilnas.networks import build_network
    from distilnas.space.darts import parse_architecture

    architecture = parse_architecture(network.architecture)
    with torch.device("meta"):
        model = build_network(architecture, num_classes=num_classes or network.num_classes)
    return {
        "name": network.name,
        **_counts(model, resolution or network.resolution),
        "rating": network.rating,
        "top1": network.top1,
        "roles": list(network.roles),
        "source": network.run,
        "architecture": network.architecture,
    }


def _counts(model: Any, resolution: int) -> dict[str, Any]:
    from distilnas.costing import profile

    return {**profile(model, resolution).to_dict(), "num_classes": model.num_classes}


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="left" if column in _WORDS else "right")
    return table


def _print(table: Table) -> None:
    """Wide enough for every column, also where the output is a file."""
    Console(width=max(console.width, 120)).print(table)


def _text(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} %"
