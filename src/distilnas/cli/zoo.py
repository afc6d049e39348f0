"""``distilnas zoo``: published networks with their exact counts."""

from dataclasses import asdict
from typing import Annotated

import typer

from distilnas.cli.console import JsonOption, VerboseOption, print_json

app = typer.Typer(help="Published networks: list, show.", no_args_is_help=True)


@app.command()
def ls(json: JsonOption = False, verbose: VerboseOption = False) -> None:
    """Names of the zoo's networks."""
    from distilnas.networks.zoo import zoo_names

    print_json(list(zoo_names())) if json else print("\n".join(zoo_names()))


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A name of `distilnas zoo ls`.")],
    json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Parameters, MACs and published accuracy of a network."""
    from distilnas.costing import profile
    from distilnas.networks.zoo import create, zoo_entry

    entry = zoo_entry(name)
    model = create(name)
    counts = profile(model, entry.resolution)
    record = {
        "name": name,
        **asdict(counts),
        "num_classes": 1000,
        "top1": entry.top1,
        "top5": entry.top5,
        "source": entry.source,
    }
    if entry.architecture is not None:
        record["architecture"] = str(entry.architecture)
    print_json(record) if json else print("\n".join(f"{key:13s} {value}" for key, value in record.items()))
