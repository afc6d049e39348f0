"""The page of a shrinking run in a real browser: budgets moved, answers compared, nothing asked of the outside."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shrunk_sample import sample
from tiny_run import write_images
from tiny_shrink import tiny_shrink

from distilnas.errors import InfeasibleError
from distilnas.recipes.catalogue import run_recipe
from distilnas.recipes.shrink.recipe import library_of
from distilnas.report.page import render
from distilnas.report.shrunk import read_shrunk
from distilnas.report.shrunk_page import shrunk_page
from distilnas.solve import Limit
from distilnas.surgery.choose import Chosen, best_choices

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra dev)")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the path (Debian: apt install chromium)")
WIDE, PHONE = {"width": 1100, "height": 900}, {"width": 390, "height": 844}
UNITS = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}
WORDS = {"macs": "MACs", "params": "parameters", "bytes": "bytes of weights"}  # as the page has them


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A page in the browser, and what it asked for and complained of so far."""

    page: Any
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@contextmanager
def opened(browser: Any, path: Path) -> Iterator[Opened]:
    found = Opened(page=browser.new_page(viewport=WIDE))
    found.page.on("console", lambda message: found.errors.append(message.text) if message.type == "error" else None)
    found.page.on("pageerror", lambda error: found.errors.append(str(error)))
    found.page.on("request", lambda request: found.requests.append(request.url))
    found.page.goto(path.as_uri())
    found.page.wait_for_selector(".plot .main-svg")
    yield found
    found.page.close()


@pytest.fixture(scope="module")
def made_up(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    folder = tmp_path_factory.mktemp("made-up")
    path = folder / "report.html"
    path.write_text(render(shrunk_page(sample(folder))))
    with opened(browser, path) as found:
        yield found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explored")
    run_recipe(settings_of(folder, write_images(folder / "images")), folder / "run")
    return folder / "run"


def settings_of(folder: Path, images: Path) -> Any:
    return tiny_shrink(folder, images, "choice.explorer=6", "choice.curve=1")


@pytest.fixture(scope="module")
def real(browser: Any, run: Path) -> Iterator[Opened]:
    with opened(browser, run / "report.html") as found:
        yield found


@pytest.fixture(params=["made_up", "real"])
def either(request: pytest.FixtureRequest) -> Opened:
    return request.getfixturevalue(request.param)


def move(page: Any, name: str, at: int) -> None:
    page.eval_on_selector(
        f"input[name={name}]",
        "(input, at) => { input.value = at; input.dispatchEvent(new Event('input', {bubbles: true})); }",
        at,
    )


def number(text: str) -> float:
    """What ``1.25 M`` says."""
    value, unit = re.fullmatch(r"(\S+)(?: ([kMG]))?", text).groups(default="")  # type: ignore[union-attr]
    return float(value) * UNITS[unit]


def shown(page: Any) -> dict[str, float] | None:
    """Costs and rating that stand on the page; None where it says that nothing fits."""
    text = page.inner_text(".result")
    if text.startswith("No student"):
        return None
    costs = {name: re.search(rf"([\d.]+(?: [kMG])?) {words} \(", text) for name, words in WORDS.items()}
    rating = re.search(r"rating (\S+) ±", text)
    assert rating
    return {"rating": float(rating[1]), **{name: number(found[1]) for name, found in costs.items() if found}}


def test_every_move_shows_what_the_solver_answers(real: Opened, run: Path) -> None:
    """The solver is asked anew, of the stored library; the page rounds to three digits."""
    trunks = library_of(settings_of(run.parent, run.parent / "images"), run).trunks()
    grid = read_shrunk(run).explored.grid  # type: ignore[union-attr]

    def solved(limits: dict[str, Any]) -> Chosen | None:
        try:
            return best_choices(trunks, [Limit(cost=name, max=most) for name, most in limits.items()])[0]
        except InfeasibleError:
            return None

    rng, seen = np.random.default_rng(0), set()
    for _ in range(30):
        limits = {}
        for name, values in grid.items():
            at = int(rng.integers(len(values)))
            limits[name] = list(values.values())[::-1][at]
            move(real.page, name, at)
        best = solved(limits)
        seen.add(best and best.choice)
        numbers = best and {"rating": best.solution.rating, **{name: best.solution.costs[name] for name in grid}}
        assert shown(real.page) == (numbers and pytest.approx(numbers, rel=0.006))
    assert len(seen) > 3


def test_limits_that_nothing_keeps_are_said_to_be_so(made_up: Opened) -> None:
    """Every made-up student costs more than 30 % of the teacher, the lowest limit."""
    for name in WORDS:
        move(made_up.page, name, 0)
    assert shown(made_up.page) is None
    assert made_up.page.inner_text(".command") == ""


def test_limits_are_reached_and_moved_by_keys(made_up: Opened) -> None:
    """By Tab alone, one after the other; arrows, Home and End move, and what is focused can be seen."""
    page = made_up.page
    page.focus("nav a:last-child")
    for name in WORDS:
        page.keyboard.press("Tab")
        while page.evaluate("document.activeElement.tagName") != "INPUT":
            page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.name") == name
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
        page.keyboard.press("End")
    assert page.inner_text(".command").endswith('"budgets=[{macs: 100%}]"')
    page.focus("input[name=macs]")
    page.keyboard.press("ArrowLeft")
    assert page.inner_text(".command").endswith('"budgets=[{macs: 90%}]"')
    assert page.get_attribute("input[name=macs]", "aria-valuetext") == "90% (21.6 M)"
    page.keyboard.press("Home")
    assert page.get_attribute("input[name=macs]", "aria-valuetext") == "30% (7.20 M)"


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["1100 px", "phone"])
def test_the_page_fits(either: Opened, size: dict[str, int]) -> None:
    either.page.set_viewport_size(size)
    either.page.reload()
    either.page.wait_for_selector(".plot .main-svg")
    assert either.page.evaluate("document.documentElement.scrollWidth") <= size["width"]


def test_no_error_and_nothing_leaves_the_page(either: Opened) -> None:
    assert either.errors == []
    files = {url for url in either.requests if not url.startswith(("data:", "blob:"))}
    assert len(files) == 1
    assert files.pop().startswith("file://")
