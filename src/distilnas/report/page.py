"""What all reports share: one HTML file that needs nothing else, made of sections by templates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import plotly.graph_objects as go
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from distilnas.report import palette, wording
from distilnas.tables.measures import measure_info

_FILTERS = (
    wording.amount,
    wording.count,
    wording.percent,
    wording.rating,
    wording.duration,
    wording.cost_name,
    wording.cost_amount,
    wording.file_size,
    wording.milliseconds,
)


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A number of the page's top."""

    label: str
    value: str
    note: str
    main: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Page:
    """A report before it is HTML.

    ``sections``: titles by id; the section ``data`` is the template ``data.html.j2``. ``figures``: by the names that
    the templates know. ``content``: what else the templates read. ``warnings``: what is to be doubted, below the tiles.
    """

    folder: Path
    name: str
    recipe: str
    headline: str
    tiles: list[Tile]
    sections: Mapping[str, str]
    figures: Mapping[str, go.Figure]
    content: Mapping[str, Any]
    warnings: Sequence[str] = ()


def render(page: Page) -> str:
    """The HTML: scripts, styles and data are inside, and its security policy forbids loading anything."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("distilnas.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {function.__name__: function for function in _FILTERS}
    shared = {
        key: getattr(page, key) for key in ("folder", "name", "recipe", "headline", "tiles", "sections", "warnings")
    }
    return environment.get_template("page.html.j2").render(
        **shared,
        **page.content,
        figures={name: Markup(figure.to_json()) for name, figure in page.figures.items()},
        block_colour=palette.block_colour,
        measure_info=measure_info,
        css=Markup((resources.files("distilnas.report") / "report.css").read_text()),
        plotly_js=Markup(get_plotlyjs()),
    )
