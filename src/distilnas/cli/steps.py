"""The verbs for single steps. Each does the steps before it where they are missing."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from distilnas.cli.console import (
    BudgetOption,
    JsonOption,
    RichProgress,
    RunOption,
    VerboseOption,
    begin,
    console,
    print_json,
)
from distilnas.errors import UsageError
from distilnas.recipes import verbs
from distilnas.recipes.verbs import Verb

Words = Annotated[
    list[str] | None,
    typer.Argument(metavar="[CONFIG] [KEY=VALUE]...", help="Configuration (default: the run's own) and settings."),
]
Amount = Annotated[str | None, typer.Option(help="A number (40M, 1.2M) or a share of the teacher's (45%).")]


def command(verb: Verb) -> Callable[..., None]:
    """What ``distilnas VERB`` does."""

    def do(
        words: Words = None, run: RunOption = None, json: JsonOption = False, verbose: VerboseOption = False
    ) -> None:
        _step(verb.name, words, run, json)

    return do


def solve(
    words: Words = None,
    run: RunOption = None,
    budget: BudgetOption = None,
    max_macs: Amount = None,
    max_params: Amount = None,
    min_macs: Amount = None,
    min_params: Amount = None,
    ratings: Annotated[
        Path | None, typer.Option(help="A rating table (.csv or .npz) made elsewhere, in place of a run; with --space.")
    ] = None,
    space: Annotated[str | None, typer.Option(help="With --ratings: a shipped search space or its file.")] = None,
    resolution: Annotated[int, typer.Option(min=1, help="With --ratings: image side that costs are for.")] = 224,
    num_classes: Annotated[int, typer.Option(min=1, help="With --ratings: classes that costs are for.")] = 1000,
    json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """The verb ``solve``, which has options of its own."""
    limits = {"max_macs": max_macs, "max_params": max_params, "min_macs": min_macs, "min_params": min_params}
    if ratings or space:
        if not (ratings and space) or words or run:
            raise UsageError("--ratings and --space belong together, and take the place of a run and its settings.")
        _solve_table(ratings, space, budget or [], limits, {"resolution": resolution, "num_classes": num_classes}, json)
    else:
        from distilnas.recipes.budgets import overrides_of

        _step("solve", words, run, json, overrides_of(budget or [], limits))


def report(
    words: Annotated[list[Path] | None, typer.Argument(metavar="[RUN] [IMAGE]...", help="As --run, --images.")] = None,
    run: RunOption = None,
    features: Annotated[
        bool, typer.Option("--features", help="Show the feature maps of student and teacher, too.")
    ] = False,
    block: Annotated[
        str | None,
        typer.Option(help="With --features: a number from 1, or all. Default: maps nearest to the paper's 14x14."),
    ] = None,
    images: Annotated[
        list[Path] | None, typer.Option(help="With --features: image files. Default: the run's rating images.")
    ] = None,
    json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Write the HTML report of a run, as far as it has come."""
    from distilnas.report import write_report

    folder, files = _run_and_images(words or [], run, images or [])
    if (block or files) and not features:
        raise UsageError("--block and images belong to --features; add it, or leave them out.")
    found = {"features": _features(folder, block, files)} if features else {}
    path = write_report(folder)
    if json:
        print_json({"report": str(path), **found})
    else:
        console.print(str(path), highlight=False, soft_wrap=True)


OWN = {verbs.SOLVE: solve}  # verbs with options of their own


def _step(name: str, words: list[str] | None, run: Path | None, as_json: bool, extra: tuple[str, ...] = ()) -> None:
    from distilnas.recipes.catalogue import load_settings, run_recipe

    config, overrides = _split(words or [])
    folder = run or (Path("runs") / Path(config).stem if config else None)
    begin(folder)
    if folder is None:
        raise UsageError("which run? Give --run DIR of a run that exists, or a configuration to begin one.")
    if config is None:
        config = str(_existing(folder) / "config.yaml")
    settings = load_settings(config, (*overrides, *extra))
    result = run_recipe(settings, folder, progress=RichProgress(), until=name)
    if as_json:
        print_json(result)
    else:
        _show(name, result)


def _solve_table(
    ratings: Path,
    space: str,
    budgets: list[str],
    limits: dict[str, str | None],
    sizes: dict[str, Any],
    as_json: bool,
) -> None:
    from distilnas.config import parse
    from distilnas.recipes.budgets import read_budgets
    from distilnas.recipes.settings import SolveSettings
    from distilnas.recipes.solving import solve_table
    from distilnas.space import find_space

    settings = parse(limits, SolveSettings)
    record = solve_table(find_space(space), ratings, settings, budget=read_budgets(budgets), **sizes).to_dict()
    if as_json:
        print_json(record)
    else:
        found = record["solution"]
        for key in ("architecture", "rating", "costs", "optimal"):
            console.print(f"  {key}: {found[key]}", highlight=False, soft_wrap=True)


def _run_and_images(words: list[Path], run: Path | None, images: list[Path]) -> tuple[Path, list[Path]]:
    """The run may be given without --run; what else is given are images, as shells write out ``--images photos/*``."""
    rest = list(words)
    if run is None and rest:
        run = next((word for word in rest if word.is_dir()), rest[0])
        rest.remove(run)
    if run is None:
        raise UsageError("which run? Give --run DIR.")
    return run, [*images, *rest]


def _features(folder: Path, block: str | None, images: list[Path]) -> dict[str, Any]:
    from distilnas.recipes.catalogue import load_settings
    from distilnas.recipes.dna.features import FeatureSettings, run_features

    if block is not None and block != "all" and not block.isdecimal():
        raise UsageError(f"--block is a number from 1, or all; got {block!r}.")
    blocks = int(block) if block and block.isdecimal() else "all" if block else None
    settings = load_settings(str(_existing(folder) / "config.yaml"))
    return run_features(settings, folder, FeatureSettings(blocks=blocks, images=tuple(images)), progress=RichProgress())


def _split(words: list[str]) -> tuple[str | None, list[str]]:
    configs = [word for word in words if "=" not in word]
    if len(configs) > 1:
        raise UsageError(f"only one configuration can be given, got {', '.join(configs)}.")
    return (configs[0] if configs else None), [word for word in words if "=" in word]


def _existing(folder: Path | None) -> Path:
    if folder is None:
        raise UsageError("which run? Give --run DIR.")
    if not (folder / "config.yaml").is_file():
        raise UsageError(f"{folder} is not a run folder (it has no config.yaml); give the folder of a run.")
    return folder


def _show(name: str, result: dict[str, Any]) -> None:
    console.print(
        f"{name}: {'was done' if result['skipped'] else 'done'} in {result['folder']}", highlight=False, soft_wrap=True
    )
    for key, value in result.items():
        if key not in ("folder", "skipped", "choice", "adapters"):
            console.print(f"  {key}: {value}", highlight=False, soft_wrap=True)
