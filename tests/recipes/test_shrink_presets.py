"""Presets of ``shrink``: what they set, what counts more, and their forecast side by side."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_run import write_images

from distilnas.cli.main import main
from distilnas.cli.plan_presets import fits_of
from distilnas.errors import UsageError
from distilnas.recipes import planner
from distilnas.recipes.planning.forecast import Forecast, StepForecast, Work
from distilnas.recipes.shrink.easy import run_folder, shrink_settings

IMAGES = 120  # of three classes, so that the teacher, who knows 1000, is fitted for 8 epochs


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_images(tmp_path_factory.mktemp("presets") / "photos"))


def test_what_presets_set(photos: str) -> None:
    """The table of the guide: an eighth and twice of 8 epochs are 1 and 16. Of 96 images, 28 are three of ten."""
    plain, quick, balanced, best = (
        shrink_settings("resnet10t", photos, **({"preset": name} if name else {}))
        for name in ("", "quick", "balanced", "best")
    )
    assert plain == balanced
    assert [one.recovery.epochs for one in (quick, balanced, best)] == [1, None, 16]
    assert [one.choice.assembled for one in (quick, balanced, best)] == [3, 5, 10]
    assert [one.choice.curve for one in (quick, balanced, best)] == [0, 8, 8]
    assert [one.library.images for one in (quick, balanced, best)] == [500, 1500, 3000]
    assert len({one.library.rating_images for one in (quick, balanced, best)}) == 1


def test_what_is_given_counts_more(photos: str) -> None:
    given = shrink_settings("resnet10t", photos, preset="best", epochs=3, more={"library": {"images": 50}})
    assert (given.recovery.epochs, given.library.images, given.choice.assembled) == (3, 50, 10)
    timed = shrink_settings("resnet10t", photos, preset="quick", minutes=2)
    assert (timed.recovery.epochs, timed.recovery.minutes) == (None, 2)
    assert shrink_settings("resnet10t", photos, preset="best", fit_epochs=5).recovery.epochs == 10


def test_presets_have_folders_of_their_own() -> None:
    assert len({run_folder("a", "b", preset) for preset in ("quick", "balanced", "best")}) == 3
    assert run_folder("a", "b", "balanced") == run_folder("a", "b")


def test_an_unknown_preset_is_refused(photos: str) -> None:
    with pytest.raises(UsageError, match="unknown preset 'fast'"):
        shrink_settings("resnet10t", photos, preset="fast")


def forecast(teacher: float, rest: float) -> Forecast:
    steps = (
        StepForecast(name="teacher", works=(Work(fixed=teacher),)),
        StepForecast(name="recover", works=(Work(fixed=rest),)),
    )
    return Forecast(
        recipe="shrink", device="cpu", devices=1, workers=0, images={}, steps=steps, limit_mb=None, probe={},
        assumptions=(), advice=(),
    )  # fmt: skip


def test_the_plan_has_every_preset(
    photos: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A recovery that takes as many seconds as it assembles students, a fit of 1 s: only ``best`` is beyond five."""

    def made_up(settings: Any, **_: Any) -> Forecast:
        return forecast(1.0, settings.choice.assembled)

    monkeypatch.setattr(planner, "plan", made_up)
    monkeypatch.chdir(tmp_path)
    words = ["distilnas", "shrink", "resnet10t", photos, "--plan"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit, match="0"):
        sys.exit(main())
    told = " ".join(capsys.readouterr().out.split())
    assert "recover 3.0 s 5.0 s 10.0 s" in told
    assert "in all 4.0 s 6.0 s 11.0 s" in told
    assert told.count("Mind:") == 1
    assert "with best all else takes 10 times" in told
    monkeypatch.setattr(sys, "argv", [*words, "--json"])
    with pytest.raises(SystemExit, match="0"):
        sys.exit(main())
    record = json.loads(capsys.readouterr().out)
    assert [record[name]["total_seconds"] for name in ("quick", "balanced", "best")] == [4, 6, 11]
    assert not list(tmp_path.iterdir())


def test_a_teacher_that_is_not_fitted_is_no_measure() -> None:
    assert fits_of({"teacher": None, "recover": 9.0}, 9.0) == 0
