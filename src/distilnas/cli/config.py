"""``distilnas config``: the shipped configurations and how one resolves."""

from typing import Annotated

import typer

from distilnas.cli.console import JsonOption, VerboseOption, console, print_json

app = typer.Typer(help="Configurations: list, show, validate.", no_args_is_help=True)
Config = Annotated[str, typer.Argument(help="A shipped name or a YAML file.")]
Overrides = Annotated[list[str] | None, typer.Argument(help="Settings as key.sub=value.")]


@app.command()
def ls(json: JsonOption = False, verbose: VerboseOption = False) -> None:
    """Names of the shipped configurations."""
    from distilnas.recipes.catalogue import config_names

    print_json(list(config_names())) if json else print("\n".join(config_names()))


@app.command()
def show(config: Config, overrides: Overrides = None, json: JsonOption = False, verbose: VerboseOption = False) -> None:
    """All settings of a configuration, defaults and overrides included."""
    import yaml

    from distilnas.recipes.catalogue import load_settings

    data = load_settings(config, tuple(overrides or ())).to_dict()
    print_json(data) if json else print(yaml.safe_dump(data, sort_keys=False), end="")


@app.command()
def validate(
    config: Config, overrides: Overrides = None, json: JsonOption = False, verbose: VerboseOption = False
) -> None:
    """Check a configuration without running anything: settings, amounts, paths, teacher and search space."""
    from distilnas.recipes.catalogue import load_settings
    from distilnas.recipes.validating import check_settings

    check_settings(load_settings(config, tuple(overrides or ())))
    if json:
        print_json({"valid": True})
    else:
        console.print(f"{config} is valid.", highlight=False)
