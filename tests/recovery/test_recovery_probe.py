"""Learning rates by probe, and lengths: planted answers, exact resume, formulas."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from killing import Killed, KillingProgress
from recovery_samples import SETTINGS, assert_same, images, lesson, student

from distilnas.data import Augmentation
from distilnas.errors import UsageError
from distilnas.files import read_json
from distilnas.recovery import Recovered, RecoverySettings, probe_rate, recover
from distilnas.recovery.length import Timing, probe_updates, updates_of
from distilnas.recovery.probe import is_bearable, least_harm
from distilnas.recovery.recover import NOTES

RATES = (1e-6, 3e-3, 10.0)  # stands still, learns, destroys: tried from the last on
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
    assert [one["lr"] for one in found.tried] == [RATES[2], RATES[1]]
    assert found.lr == RATES[1]
    assert found.updates == ALL
    assert found.log.epochs[-1]["val_kl"] < found.before["val_kl"]
    notes = read_json(tmp_path / NOTES)
    assert [notes[f"lr {rate:g}"] for rate in RATES[:0:-1]] == list(found.tried)
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


@pytest.mark.parametrize("killed_after", [2, 5, 8, 25])
def test_killed_and_resumed_is_uninterrupted(tmp_path: Path, killed_after: int) -> None:
    """In each probe and in the training."""
    whole = _recover(tmp_path / "whole", checkpoint_seconds=None)
    with pytest.raises(Killed):
        _recover(tmp_path, progress=KillingProgress(killed_after))
    resumed = _recover(tmp_path, progress=KillingProgress(2 * EACH + ALL - killed_after))
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
    with pytest.raises(UsageError, match=r"diverges with each of the learning rates \[2e\+30, 1e\+30\]: set lower"):
        _recover(tmp_path / "all", replace(PROBED, rates=(1e30, 2e30), optim=replace(PROBED.optim, optimizer="sgd")))


def test_a_quarter_of_what_it_knows_may_be_lost() -> None:
    """Of the 1.6 between the student as it came (0.4) and an ignorant one (2.0): up to 0.8."""
    found = [is_bearable({"lr": 1.0, "val_kl": kl}, before=0.4, ignorant=2.0) for kl in (0.1, 0.79, 0.81, 3.0, None)]
    assert found == [True, True, False, False, False]


def test_what_does_least_harm() -> None:
    tried = [{"lr": 3.0, "val_kl": None}, {"lr": 2.0, "val_kl": 9.0}, {"lr": 1.0, "val_kl": 8.0}]
    assert least_harm(tried) == 1.0
    assert least_harm(tried[:1]) is None


def test_an_ignorant_student_answers_the_mean_of_the_answers(tmp_path: Path) -> None:
    """Of the constant answers it is the one with the least divergence; by hand in double precision."""
    held = lesson(tmp_path).held_out
    p = held.teacher.double().softmax(1)
    q = p.mean(0)
    assert held.ignorant == pytest.approx(float((p * (p / q).log()).sum(1).mean()), rel=1e-4)


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
