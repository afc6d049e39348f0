"""Short recoveries side by side: planted answers, exact resume."""

from dataclasses import replace
from pathlib import Path

import pytest
from killing import Killed, KillingProgress
from recovery_samples import SETTINGS, assert_same, images, lesson, student
from torch import nn

from distilnas.data import Augmentation
from distilnas.recovery import Lesson, Trials, hold_trials, probe_rate

ONE_RATE = replace(
    SETTINGS,
    epochs=25,
    batch_size=12,
    rates=(3e-3,),
    augment=Augmentation(crop="none"),
    labels=0.0,
    frozen_norm=1.0,
)
EACH = 5  # updates of a trial: 24 images are two updates an epoch, a tenth of 50


def _broken() -> nn.Module:
    """A student that knows nothing of its teacher, and cannot learn it so soon."""
    model = student()
    for weight in (model.body[0].weight, model.head[3].weight):  # type: ignore[index,union-attr]
        nn.init.zeros_(weight)  # type: ignore[arg-type]
    return model


def _hold(folder: Path, students: list[nn.Module], **changes: object) -> Trials:
    def in_place(number: int) -> Lesson:
        return lesson(folder / str(number), images=images(24), validation=images(24), **changes)

    for number in range(len(students)):
        (folder / str(number)).mkdir(parents=True, exist_ok=True)
    return hold_trials([(one, in_place(i)) for i, one in enumerate(students)], ONE_RATE)


def test_the_planted_student_is_best_wherever_it_stands(tmp_path: Path) -> None:
    assert _hold(tmp_path / "a", [_broken(), student()]).best == 1
    assert _hold(tmp_path / "b", [student(), _broken()]).best == 0


def test_a_trial_is_a_probe_of_a_tenth_and_leaves_the_student(tmp_path: Path) -> None:
    one = student()
    found = _hold(tmp_path, [one, _broken()])
    (tmp_path / "alone").mkdir()
    same = lesson(tmp_path / "alone", images=images(24), validation=images(24))
    assert found.updates == EACH
    assert found.ended[0] == probe_rate(student(), same, ONE_RATE, 3e-3, updates=EACH)
    assert_same(one, student())


def test_killed_and_resumed_is_uninterrupted(tmp_path: Path) -> None:
    students = [student(), _broken()]
    whole = _hold(tmp_path / "whole", students)
    with pytest.raises(Killed):
        _hold(tmp_path / "killed", students, progress=KillingProgress(EACH + 2))
    resumed = _hold(tmp_path / "killed", students, progress=KillingProgress(EACH - 2))
    assert resumed == whole


def test_too_short_a_recovery_decides_nothing(tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    short = replace(ONE_RATE, epochs=24)  # a tenth of 48 updates is 4
    students = [(student(), lesson(tmp_path / "0", images=images(24), validation=images(24)))] * 2
    found = hold_trials(students, short)
    assert found.ended == ()
    assert found.best == 0


def test_a_diverged_trial_is_never_best() -> None:
    rows = ({"val_kl": None}, {"val_kl": 0.5}, {"val_kl": 0.4})
    assert Trials(updates=5, ended=rows).best == 2
    assert Trials(updates=5, ended=rows[:1]).best == 0
