"""Forecasts of DNAD runs: counts by formula, steps that are probed as they run, students that fit the budget."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from planning_samples import CPU, fix_measurements, seconds, step
from tiny_dnad_run import dnad_settings

from distilnas.costing import profile
from distilnas.errors import InfeasibleError, UsageError
from distilnas.methods.dnad import BilevelSettings, PressureSettings, SearchNet, ShrinkSettings, build_supernet
from distilnas.networks import DartsNet
from distilnas.recipes.catalogue import load_settings
from distilnas.recipes.dnad.probes import bilevel_steps, guess_darts, shrink_steps
from distilnas.recipes.dnad.recipe import DNAD
from distilnas.recipes.planner import plan
from distilnas.recipes.planning.meter import Measure, Meter
from distilnas.solve import Limit
from distilnas.space import Architecture
from distilnas.space.darts import DartsArchitecture
from distilnas.space.darts.space import DartsSpace

SPACE = DartsSpace(width=2, num_cells=3)
CHAIN = "stem 8/2 relu | 8/2 mb_k3_e2_relu | 16/2 mb_k5_e2_relu | head 16 relu"
NODES = "s3-0 sk-1 | sk-0 sk-1 | sk-1 sk-2 | sk-2 sk-3"
IMAGES = {"train": 54, "validation": 6, "rating": 12, "test": 18}  # of 90, a fifth for the test


@pytest.fixture
def fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    fix_measurements(monkeypatch)


def planned(folder: Path, *overrides: str, **options: Any) -> dict[str, float]:
    """Seconds of the steps of the tiny run."""
    return seconds(plan(dnad_settings(folder, *overrides), seconds=1, **options))


# Seconds, disk and memory by formula: a step, or a batch of a test, takes 2 s; tests are of batches of 18 images


def test_steps_are_those_of_the_run(tmp_path: Path, fixed: None):
    forecast = plan(dnad_settings(tmp_path), seconds=1)
    assert {part: forecast.images[part] for part in IMAGES} == IMAGES
    names = [step.name for step in forecast.steps]
    assert names == ["data", "teacher", "evaluate-teacher", *DNAD.verbs, "report"]
    assert set(names) - set(seconds(forecast)) == {"solve", "export", "report"}


@pytest.mark.parametrize(
    ("overrides", "steps", "tests"),
    [
        ((), 2 * 6, 2),  # 54 // 8 steps in each of two epochs, a test after each
        (("search.shrink.epochs=5",), 5 * 6, 5),
        (("search.shrink.snapshot_steps=5",), 2 * 6, 3),  # after 5, 10 and 12 steps
        (("search.shrink.snapshot_steps=6",), 2 * 6, 2),
        (("search.method=bilevel",), 27 // 8, 1),  # one half of the images for the weights
        (("search.method=bilevel", "search.bilevel.epochs=4"), 4 * (27 // 8), 1),
    ],
)
def test_seconds_of_the_search(tmp_path: Path, fixed: None, overrides: tuple[str, ...], steps: int, tests: int):
    assert planned(tmp_path, *overrides)["search"] == pytest.approx(steps * 2.0 + tests * 2.0 * 12 / 18)


@pytest.mark.parametrize("override", ["teacher=null", "search.shrink.imitation.kappa=0", "search.method=bilevel"])
def test_no_teacher_where_none_is_imitated(tmp_path: Path, fixed: None, override: str):
    assert not {"teacher", "evaluate-teacher"} & set(planned(tmp_path, override))


def test_the_upper_bound_and_the_student_are_stated(tmp_path: Path, fixed: None):
    shrinking = plan(dnad_settings(tmp_path), seconds=1)
    assert any("upper bound" in text for text in shrinking.assumptions)
    assert "at most" in step(shrinking, "search").note
    assert "two candidates at every node" in shrinking.assumptions[0]
    bilevel = plan(dnad_settings(tmp_path, "search.method=bilevel"), seconds=1)
    assert not any("upper bound" in text for text in bilevel.assumptions)


def test_disk_is_at_most_that_of_the_forecast(tmp_path: Path, fixed: None):
    """A search without pressure deletes next to nothing, and leaves what is forecast."""
    settings = dnad_settings(tmp_path, "search.shrink.pressure.gamma=1e-9", "search.shrink.pressure.phi=1.001")
    DNAD.run(settings, tmp_path / "run", until="search")
    left = sum((tmp_path / "run" / "search" / f"{name}.json").stat().st_size for name in ("archive", "networks")) / 1e6
    assert 0.5 * left < step(plan(settings, seconds=1), "search").disk_mb < 1.1 * left


def test_what_does_not_fit_gets_a_lower_batch_size(tmp_path: Path, fixed: None, monkeypatch: pytest.MonkeyPatch):
    """100 MB are forecast for every step."""
    monkeypatch.setattr(Meter, "limit_mb", 105.0)
    for method in ("shrink", "bilevel"):
        forecast = plan(dnad_settings(tmp_path, f"search.method={method}"), seconds=1)
        assert any(f"set a lower search.{method}.batch_size" in text for text in forecast.advice)
    monkeypatch.setattr(Meter, "limit_mb", 1e6)
    assert not plan(dnad_settings(tmp_path), seconds=1).advice


# Probes


def passes(model: torch.nn.Module, measure: Measure) -> float:
    """Forward passes of ``model`` in each step of a probe."""
    count = [0]
    hook = model.register_forward_hook(lambda *_: count.__setitem__(0, count[0] + 1))
    sample = measure(2, 0.0)
    hook.remove()
    return count[0] / (sample.steps + 1)


@pytest.mark.parametrize(("order", "expected"), [("first", 2), ("second", 5)])
def test_a_step_of_darts_has_the_passes_of_its_order(order: str, expected: int):
    """One for the weights; for the alphas one, or four with virtual step and finite difference (DARTS, 2.3)."""
    supernet = build_supernet(SPACE, num_classes=3, seed=0)
    settings = BilevelSettings(order=order)  # type: ignore[arg-type]
    measure = bilevel_steps(supernet, settings, resolution=8, device=CPU, meter=Meter(CPU))
    assert passes(supernet, measure) == expected


def candidates(supernet: SearchNet) -> int:
    return sum(len(node) for cell in supernet.cells for node in cell.nodes)  # type: ignore[union-attr]


@pytest.mark.parametrize("penalty", ["log", "l1"])
def test_probing_deletes_nothing_even_under_pressure(penalty: str):
    """The same settings at their own rate delete from the first steps on."""
    supernet = build_supernet(SPACE, num_classes=3, seed=0)
    settings = ShrinkSettings(
        penalty=penalty, pressure=PressureSettings(gamma=1.0), architecture_lr=500.0, warmup_epochs=1, epochs=2
    )
    before = {name: weight.clone() for name, weight in supernet.named_parameters()}
    sample = shrink_steps(supernet, None, settings, resolution=8, device=CPU, meter=Meter(CPU))(4, 0.0)
    assert sample.seconds["step"] > 0
    assert candidates(supernet) == SPACE.num_candidates
    assert all(torch.allclose(weight, before[name], atol=1e-6) for name, weight in supernet.named_parameters())


@pytest.mark.parametrize("overrides", [(), ("search.method=bilevel", "search.bilevel.order=second")])
def test_real_probes_write_nothing(tmp_path: Path, overrides: tuple[str, ...], monkeypatch: pytest.MonkeyPatch):
    settings = dnad_settings(tmp_path, *overrides)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    forecast = plan(settings, seconds=1)
    assert sorted(tmp_path.rglob("*")) == before
    assert all(seconds(forecast)[name] > 0 for name in ("search", "retrain", "evaluate"))
    assert forecast.probe["search"]["configured_batch"] == 8


@pytest.mark.parametrize(("weight", "used"), [("0.4", True), ("0", False)])
def test_darts_networks_are_retrained_with_their_auxiliary_head(
    tmp_path: Path, weight: str, used: bool, monkeypatch: pytest.MonkeyPatch
):
    calls: list[int] = []
    own: Callable[..., Any] = DartsNet.forward_with_auxiliary
    monkeypatch.setattr(DartsNet, "forward_with_auxiliary", lambda net, x: calls.append(len(x)) or own(net, x))
    (tmp_path / "a.txt").write_text(f"darts cifar 2x3 ; N: {NODES} ; R: {NODES}")
    overrides = ("data={source: synthetic, images: 90, classes: 3, resolution: 32, validation: 6}",)
    overrides += (f"network={{zoo: null, variant: null, file: {tmp_path / 'a.txt'}}}", f"auxiliary_weight={weight}")
    overrides += (
        "retrain.batch_size=8",
        "retrain.augment={}",
        "runtime={accelerator: cpu, threads: 1, workers: 0, precision: 32-true}",
    )
    forecast = plan(load_settings("dnad-cifar10-retrain", overrides), seconds=1)
    assert bool(calls) == used
    head = 24 * 128 + 2 * 128 + 128 * 768 * 4 + 2 * 768 + 769 * 3  # 1x1, norm, 2x2, norm, classifier (paper, A.2)
    bare = step(forecast, "retrain").disk_mb  # kept without the head; weights and momentum in the checkpoint
    added = step(forecast, "retrain").checkpoint_mb - 2 * bare
    assert added == pytest.approx(2 * head * 4 / 1e6 if used else 0.0, abs=0.03)


# Students


@pytest.mark.parametrize("primitives", [("skip_connect", "sep_conv_3x3"), ("none", "max_pool_3x3", "dil_conv_5x5")])
def test_the_guess_keeps_two_candidates_a_node_and_the_budget(primitives: tuple[str, ...]):
    space = DartsSpace(width=2, num_cells=3, primitives=primitives)

    def guess(*limits: Limit) -> tuple[DartsArchitecture, int]:
        found = guess_darts(space, limits, width=4, resolution=16, classes=3)
        return found, profile(DartsNet(found, num_classes=3), 16).macs

    def per_node(found: DartsArchitecture) -> set[int]:
        return {len(node) for cell in found.genotype.expand(3).cells for node in cell.nodes}

    largest, most = guess()
    assert per_node(largest) == {2}
    for share in (0.8, 0.6, 0.4):
        found, macs = guess(Limit(cost="macs", max=int(share * most)))
        assert share - 0.15 < macs / most <= share
        assert per_node(found) in ({1}, {2})
    _, smallest = guess(Limit(cost="macs", max=1))
    assert smallest < 0.4 * most


def test_the_guess_for_the_authors_space_is_two_separable_convolutions_a_node():
    """Counted by the authors' class for derived networks: 1,907,542 parameters, 292,300,416 MACs."""
    found = guess_darts(DartsSpace(), (), width=36, resolution=32, classes=10)
    counts = profile(DartsNet(found, num_classes=10), 32)
    assert (counts.params, counts.macs) == (1_907_542, 292_300_416)


def test_shared_cells_are_derived_at_the_depth_of_the_settings(tmp_path: Path, fixed: None):
    text = plan(dnad_settings(tmp_path, "search.method=bilevel"), seconds=1).assumptions[0]
    space = DartsSpace(width=2, num_cells=4, primitives=("skip_connect", "sep_conv_3x3"))
    found = guess_darts(space, (), width=4, resolution=16, classes=3)
    assert f"{profile(DartsNet(found, num_classes=3), 16).macs:,} MACs" in text


def test_a_given_student_is_taken(tmp_path: Path, fixed: None):
    text = "darts cifar 4x3 ; " + " ; ".join(["sk-0 | sk-1 | sk-2 | sk-3"] * 3)
    given = plan(dnad_settings(tmp_path), seconds=1, architecture=DartsArchitecture.parse(text))
    assert "the architecture given" in given.assumptions[0]
    with pytest.raises(UsageError, match="of another kind than those that the recipe 'dnad' finds"):
        plan(dnad_settings(tmp_path), seconds=1, architecture=Architecture.parse(CHAIN))


@pytest.mark.parametrize(
    ("override", "error", "words"),
    [
        ("solve.max_macs=500", InfeasibleError, "solve.max_macs=500 is out of reach"),
        ("search.shrink.imitation.taps=[stages.0,stages.1,stages.3]", UsageError, "no tap 'stages.3'"),
    ],
)
def test_what_the_run_would_refuse(tmp_path: Path, override: str, error: type[Exception], words: str):
    with pytest.raises(error, match=words):
        planned(tmp_path, override)
