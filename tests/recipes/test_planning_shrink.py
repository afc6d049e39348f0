"""Forecasts of shrinking runs: counts by formula, a library from few images, students that fit the budget."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from planning_samples import CPU, fix_measurements, seconds, step
from tiny_run import write_images
from tiny_shrink import tiny_shrink

from distilnas.errors import InfeasibleError, UsageError
from distilnas.recipes.planner import plan
from distilnas.recipes.planning.forecast import Forecast
from distilnas.recipes.shrink import probes
from distilnas.surgery.library import Library

TRAIN, VALIDATION, RATING, TEST, BATCH = 74, 6, 16, 24, 24


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("planned") / "images")


@pytest.fixture(scope="module")
def library() -> list[Library]:
    """The first forecast's, for the others."""
    return []


@pytest.fixture
def planned(
    photos: Path, library: list[Library], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Forecast]:
    """Of the tiny run, where a library takes 30 s."""
    make = probes.library_from_few

    def once(*args: Any, **kwargs: Any) -> tuple[Library, float]:
        if not library:
            library.append(make(*args, **kwargs)[0])
        return library[0], 30.0

    monkeypatch.setattr(probes, "library_from_few", once)
    return lambda *overrides: plan(tiny_shrink(tmp_path, photos, *overrides), seconds=0.5)


@pytest.fixture
def fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of all else takes 2 s."""
    fix_measurements(monkeypatch)


def test_seconds_by_formula(planned: Callable[..., Forecast], fixed: None) -> None:
    """Candidates and points are counted by what one takes: 2 s, and passes of 16 images by student and teacher."""
    found = seconds(planned("choice.assembled=1", "choice.curve=1"))
    each, test = 2 + 2 * 2 * RATING / TEST, 2 * VALIDATION / TEST
    assert found["library"] == 30
    for name in ("choose", "curve"):
        students = round(found[name] / each)
        assert students > 1
        assert found[name] == pytest.approx(students * each)
    assert found["recover"] == pytest.approx(2 * (TRAIN // BATCH) + 3 * test)  # before, after, and the teacher
    assert found["evaluate"] == 2 * 2
    assert set(found) == {"data", "teacher", "library", "choose", "curve", "recover", "evaluate", "evaluate-teacher"}


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        # 20 epochs of 3 updates; a tenth of them is too short to try rates
        (("recovery.epochs=20", "recovery.rates=[0.1,0.01,0.001]"), 2 * 60 + 2 * (2 + 20) * VALIDATION / TEST),
        # 60 epochs: 6 updates a rate, taken to be two of three, each measured after every one of its two rounds
        (
            ("recovery.epochs=60", "recovery.rates=[0.1,0.01,0.001]"),
            2 * (180 + 12) + 2 * (2 + 60 + 4) * VALIDATION / TEST,
        ),
        (("recovery.epochs=null", "recovery.minutes=2"), 120),
        (("budgets=[{macs: 70%}, {macs: 50%}]",), 2 * (2 * 3 + 3 * 2 * VALIDATION / TEST)),
    ],
)
def test_length_of_a_recovery(
    overrides: tuple[str, ...], expected: float, planned: Callable[..., Forecast], fixed: None
) -> None:
    forecast = planned("choice.assembled=1", "choice.tried=1", "choice.curve=0", *overrides)
    assert seconds(forecast)["recover"] == pytest.approx(expected)


def test_length_of_trials(planned: Callable[..., Forecast], fixed: None) -> None:
    """Two students for a tenth of 180 updates, the first with two of three rates, each measured after all six rounds;
    the recovery then tries none."""
    rates = ("recovery.epochs=60", "recovery.rates=[0.1,0.01,0.001]")
    found = seconds(planned("choice.assembled=1", "choice.tried=2", "choice.curve=0", *rates))
    assert found["trial"] == pytest.approx(2 * 3 * 18 + 2 * (2 + 3 * 6) * VALIDATION / TEST)
    assert found["recover"] == pytest.approx(2 * 180 + 2 * (2 + 60) * VALIDATION / TEST)


def test_nothing_is_timed_for_a_budget_on_latency(planned: Callable[..., Forecast], fixed: None) -> None:
    """A share is taken for one of the MACs, milliseconds for no limit at all: then the teacher stays."""
    forecast = planned("budgets=[{latency_ms: 60%}, {macs: 60%}, {latency_ms: 5}]", "choice.curve=0")
    assert step(forecast, "latency").works == ()
    share, macs, free = (text.partition("one of ")[2] for text in forecast.assumptions)
    assert share == macs != free


def test_what_a_library_takes_is_told_from_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """10 s, 0.5 s a calibration image, and batches of 128 on the line through 8 images in 1 s and 32 in 2.5 s."""
    rated = [(8, 1.0), (32, 2.5)]
    monkeypatch.setattr(probes, "_made", lambda make, images, *_: (images, 10 + 0.5 * images, rated))

    def taken(images: int, batches: list[int]) -> Any:
        return probes.library_from_few(lambda *_: None, images, batches, resolution=8, device=CPU)  # type: ignore[arg-type,return-value]

    assert taken(1500, [128] * 4) == (32, 10 + 750 + 4 * (2.5 + 96 / 16))
    assert taken(20, [8]) == (20, 10 + 10 + 1.0)


def test_a_forecast_says_what_the_run_would_refuse(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(InfeasibleError, match="smallest reachable macs"):
        plan(tiny_shrink(tmp_path, photos, "budgets=[{macs: 1000}]"), seconds=1)
    with pytest.raises(UsageError, match="mcas"):
        plan(tiny_shrink(tmp_path, photos, "budgets=[{mcas: 1000}]"), seconds=1)
    with pytest.raises(UsageError, match="OwnTeacher"):
        plan(tiny_shrink(tmp_path, photos, "teacher.model=own", "teacher.model_kwargs={}"), seconds=1)


def test_students_fit_the_budget_and_are_probed(planned: Callable[..., Forecast]) -> None:
    """Measured, not fixed: students are put together and updated."""
    forecast = planned("budgets=[{macs: 4M}]", "choice.curve=0")
    (text,) = forecast.assumptions
    assert int(text.partition("one of ")[2].partition(" MACs")[0].replace(",", "")) <= 4_000_000
    student, library = step(forecast, "recover").disk_mb, step(forecast, "library").disk_mb
    assert 0 < student < step(forecast, "teacher").disk_mb
    assert library > 0
    assert step(forecast, "export").disk_mb > student
    probed = {name: forecast.probe[name] for name in ("students", "recover macs-4M", "evaluate macs-4M")}
    assert all(value > 0 for row in probed.values() for value in row["seconds_per_step"].values())
