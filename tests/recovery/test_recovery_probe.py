"""Learning rates by probe, and lengths: planted answers, exact resume, formulas."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from recovery_samples import SETTINGS, Killed, KillingProgress, assert_same, images, lesson, student

from distilnas.data import Augmentation
from distilnas.errors import UsageError
from distilnas.files import read_json
from distilnas.recovery import Recovered, RecoverySettings, best_rate, probe_rate, recover
from distilnas.recovery.length import Timing, probe_updates, updates_of
from distilnas.recovery.recover import NOTES

RATES = (1e-6, 3e-3, 10.0)  # stands still, learns, destroys
PROBED = replace(
    SETTINGS,
    epochs=15,
    batch_size=12,
    rates=RATES,
    probe=0.5,
    augment=Augmentation(crop="none"),
    labels=0.0,
    frozen_norm=1.0,
)
EACH, ALL = 5, 30  # updates of a probe, and of the training: 24 images are two an epoch


def _recover(folder: Path, settings: RecoverySettings = PROBED, **changes: Any) -> Recovered:
    return recover(student(), lesson(folder, images=images(24), validation=images(24), **changes), settings)


def test_the_planted_rate_is_found(tmp_path: Path) -> None:
    found = _recover(tmp_path, checkpoint_seconds=None)
    assert [one["lr"] for one in found.tried] == list(RATES)
    assert found.lr == RATES[1]
    assert found.tried[0]["val_kl"] == pytest.approx(found.before["val_kl"], rel=0.01)
    assert found.updates == ALL
    assert found.log.epochs[-1]["val_kl"] < found.before["val_kl"]
    notes = read_json(tmp_path / NOTES)
    assert [notes[f"lr {rate:g}"] for rate in RATES] == list(found.tried)
    assert notes["before"] == found.before
    assert [path.name for path in tmp_path.iterdir()] == [NOTES]


def test_every_rate_starts_from_the_same_student_and_sees_the_same(tmp_path: Path) -> None:
    """One tried alone gives what it gave among others; the student stays as it came."""
    model = student()
    whole = _recover(tmp_path / "a", checkpoint_seconds=None)
    same = lesson(tmp_path / "b", images=images(24), validation=images(24))
    alone = probe_rate(model, same, PROBED, RATES[1], updates=EACH)
    assert not list((tmp_path / "b").iterdir())
    assert alone == whole.tried[1]
    assert_same(model, student())


@pytest.mark.parametrize("killed_after", [2, 5, 12, 25])
def test_killed_and_resumed_is_uninterrupted(tmp_path: Path, killed_after: int) -> None:
    """In each probe and in the training."""
    whole = _recover(tmp_path / "whole", checkpoint_seconds=None)
    with pytest.raises(Killed):
        _recover(tmp_path, progress=KillingProgress(killed_after))
    resumed = _recover(tmp_path, progress=KillingProgress(3 * EACH + ALL - killed_after))
    assert resumed.tried == whole.tried
    assert_same(resumed.model, whole.model)
    assert resumed.log.epochs == whole.log.epochs


def test_minutes_set_the_length_once(tmp_path: Path) -> None:
    """A second process has the first one's timing, however fast it is itself."""
    settings = replace(PROBED, epochs=None, minutes=1.0, rates=())
    with pytest.raises(Killed):
        _recover(tmp_path, settings, progress=KillingProgress(2))
    notes = read_json(tmp_path / NOTES)
    (tmp_path / NOTES).write_text(str(notes | {"timing": {"update": 10.0, "held_out": 0.0}}).replace("'", '"'))
    (tmp_path / "checkpoint.safetensors").unlink()
    assert notes["timing"]["update"] > 0
    assert _recover(tmp_path, settings).updates == 6


def test_divergence_is_no_failure_of_the_probe(tmp_path: Path) -> None:
    found = _recover(tmp_path, replace(PROBED, rates=(1e30, 1e-3), optim=replace(PROBED.optim, optimizer="sgd")))
    assert found.tried[0] == {"lr": 1e30, "val_kl": None}
    assert found.lr == 1e-3
    with pytest.raises(UsageError, match=r"diverges with each of the learning rates \[1e\+30, 2e\+30\]: set lower"):
        _recover(tmp_path / "all", replace(PROBED, rates=(1e30, 2e30), optim=replace(PROBED.optim, optimizer="sgd")))


@pytest.mark.parametrize(
    ("kls", "chosen"),
    [
        ((0.9, 0.4, 0.6, 2.0), 3.0),  # gains 0.1, 0.6, 0.4: two thirds of the most are enough
        ((0.9, 0.4, 0.8, 2.0), 2.0),  # 0.2 are not
        ((1.1, 1.2, 3.0, 9.0), 1.0),  # nothing helps: the least harm
        ((0.5, None, 0.5, None), 3.0),
        ((None, None, None, None), None),
    ],
)
def test_the_largest_rate_that_is_about_as_good(kls: tuple[float | None, ...], chosen: float | None) -> None:
    tried = [{"lr": float(lr), "val_kl": kl} for lr, kl in enumerate(kls, start=1)]
    assert best_rate(tried, 1.0) == chosen
    assert best_rate(tried[::-1], 1.0) == chosen


def test_too_short_for_a_probe_takes_the_middle_rate(tmp_path: Path) -> None:
    found = _recover(tmp_path, replace(PROBED, epochs=1, rates=(3e-3, 1e-4, 1e-3)))
    assert (found.lr, found.tried, found.updates) == (1e-3, (), 2)


def test_without_rates_the_optimisers_counts(tmp_path: Path) -> None:
    """Scaled to the batch: 12 images of 24."""
    optim = replace(PROBED.optim, lr=0.02, lr_base_size=24)
    assert _recover(tmp_path, replace(PROBED, epochs=1, rates=(), optim=optim)).lr == pytest.approx(0.01)


def test_lengths() -> None:
    settings = RecoverySettings(rates=())
    assert updates_of(replace(settings, epochs=1.5), 10) == 15
    assert updates_of(settings, 10, fit_epochs=30) == 150
    assert updates_of(replace(settings, epochs=2), 10, fit_epochs=30) == 20
    with pytest.raises(UsageError, match="was not fitted here: set epochs or minutes"):
        updates_of(settings, 10)


def test_minutes_pay_for_updates_probes_and_measurements() -> None:
    """60 s = n x 0.5 s x (1 + 10 %) + 1 s for each ten updates + 1 s at the end and for each of three probes."""
    timing = Timing(update=0.5, held_out=1.0)
    assert updates_of(RecoverySettings(minutes=1.0), 10, timing=timing) == int((60 - 4) / (0.55 + 0.1))
    assert updates_of(RecoverySettings(minutes=1.0, rates=()), 10, timing=timing) == int(59 / 0.6)
    with pytest.raises(UsageError, match=r"minutes=0\.05 are too few: an update takes 0\.5 s"):
        updates_of(RecoverySettings(minutes=0.05), 10, timing=timing)


@pytest.mark.parametrize(("updates", "each"), [(600, 20), (150, 5), (149, 0), (20, 0)])
def test_probes_take_their_share(updates: int, each: int) -> None:
    """Three rates, a tenth of the whole; fewer than five updates would say nothing."""
    assert probe_updates(RecoverySettings(), updates) == each
    assert probe_updates(RecoverySettings(rates=(1e-3,)), updates) == 0
