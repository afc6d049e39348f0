"""The recipes: from a configuration's name or file to its settings, and from settings to what runs them."""

from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml

from distilnas.config import merge, parse
from distilnas.config.load import read_text
from distilnas.errors import UsageError, nearest
from distilnas.recipes.budgets import completed
from distilnas.recipes.dna.recipe import DNA
from distilnas.recipes.dnad.recipe import DNAD
from distilnas.recipes.dnad.settings import DnadSettings
from distilnas.recipes.frame import Recipe, Series
from distilnas.recipes.progressive.settings import ProgressiveSettings
from distilnas.recipes.progressive.steps import PROGRESSIVE
from distilnas.recipes.rank.recipe import RANK
from distilnas.recipes.rank.settings import RankSettings
from distilnas.recipes.retrain.settings import RetrainSettings
from distilnas.recipes.retrain.steps import RETRAINING
from distilnas.recipes.settings import Settings, plain
from distilnas.recipes.shrink.recipe import SHRINK
from distilnas.recipes.shrink.settings import ShrinkSettings
from distilnas.recipes.truth.settings import TruthSettings
from distilnas.recipes.truth.steps import TRUTH
from distilnas.runtime.progress import Progress

_CONFIGS = resources.files("distilnas.recipes") / "configs"

AnySettings = (
    Settings | DnadSettings | RetrainSettings | ProgressiveSettings | RankSettings | TruthSettings | ShrinkSettings
)
AnyRecipe = Recipe[Any, Any] | Series[Any]
RECIPES: Mapping[str, AnyRecipe] = {
    recipe.name: recipe for recipe in (SHRINK, DNA, DNAD, RETRAINING, PROGRESSIVE, RANK, TRUTH)
}


def config_names() -> tuple[str, ...]:
    """Names of the shipped configurations."""
    return _names(_CONFIGS)


def part_names() -> tuple[str, ...]:
    """Names of the shipped parts, which configurations extend."""
    return tuple(f"parts/{name}" for name in _names(_CONFIGS / "parts"))


def _names(folder: Traversable) -> tuple[str, ...]:
    return tuple(sorted(p.name.removesuffix(".yaml") for p in folder.iterdir() if p.name.endswith(".yaml")))


def config_text(config: str) -> str:
    """Text of a shipped configuration or part (``parts/NAME``, to extend), or of a YAML file."""
    if config in (*config_names(), *part_names()):
        return (_CONFIGS / f"{config}.yaml").read_text()
    if Path(config).suffix in (".yaml", ".yml"):
        return read_text(Path(config))
    raise UsageError(f"unknown configuration {config!r}; {nearest(config, config_names())} A file must end in .yaml.")


def load_settings(config: str, overrides: tuple[str, ...] = ()) -> Any:
    """Settings (``AnySettings``, by its ``recipe``) of a shipped name or YAML file with ``key.sub=value`` overrides."""
    return _settings(config_text(config), overrides, config)


def settings_from(data: Mapping[str, Any], overrides: tuple[str, ...] = ()) -> Any:
    """The same of settings as they are in a file."""
    return _settings(yaml.safe_dump(plain(dict(data))), overrides, "the settings")


def _settings(text: str, overrides: tuple[str, ...], origin: str) -> Any:
    data = merge(text, completed(overrides), origin=origin, read=config_text)
    recipe = data.get("recipe", "dna")
    if not isinstance(recipe, str) or recipe not in RECIPES:
        raise UsageError(f"unknown recipe {recipe!r} in {origin}; {nearest(str(recipe), RECIPES)}")
    return parse(data, RECIPES[recipe].settings)


def run_recipe(
    settings: AnySettings, folder: Path, *, progress: Progress | None = None, until: str | None = None
) -> dict[str, Any]:
    """Run everything, or up to the step ``until``, continuing where ``folder`` stands.

    Returns the content of ``summary.json``, or the step's result with ``until``.
    """
    return RECIPES[settings.recipe].run(settings, folder, progress=progress, until=until)
