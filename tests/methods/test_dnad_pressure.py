"""The controller on scripted deletions; numbers from the constants: 1e-4 * 1.01^695 = 0.100775 and so on."""

import pytest

from distilnas.errors import UsageError
from distilnas.methods.dnad import IMAGENET_PRESSURE, PressureSettings
from distilnas.methods.dnad.pressure import Pressure


def test_without_deletions() -> None:
    """gamma reaches 0.1 after 695 steps, then q counts 50: events at 745, 795, ..., each with mu 1.5 times greater."""
    pressure = Pressure(PressureSettings())
    events, gammas = {}, [pressure.gamma]
    for step in range(1, 850):
        if pressure.update(0):
            events[step] = (pressure.gamma, pressure.mu)
        gammas.append(pressure.gamma)
    assert next(step for step, gamma in enumerate(gammas) if gamma >= 0.1) == 695
    assert gammas[695] == pytest.approx(0.100775, abs=5e-7)
    assert list(events) == [745, 795, 845]
    assert events[745] == (pytest.approx(0.165739, abs=5e-7), pytest.approx(0.15))
    assert events[795][1] == pytest.approx(0.225)


@pytest.mark.parametrize(("settings", "steps"), [(PressureSettings(), 29), (IMAGENET_PRESSURE, 299)])
def test_one_deletion_relieves_for_some_steps(settings: PressureSettings, steps: int) -> None:
    """m stays at (1 - tau) tau^j of it, above n_max for so many steps; gamma falls by 1 % in each."""
    pressure = Pressure(settings)
    falls = 0
    for step in range(2 * steps):
        before = pressure.gamma
        pressure.update(1 if step == 0 else 0)
        falls += pressure.gamma < before
        assert pressure.gamma == pytest.approx(before * (0.99 if step < steps else 1.01))
    assert falls == steps


def test_a_deletion_restarts_the_count() -> None:
    """Rest must be uninterrupted: a deletion at q = 49 costs its 29 steps and 50 more."""
    pressure = Pressure(PressureSettings(gamma=0.1))
    assert not any(pressure.update(0) for _ in range(49))
    assert not pressure.update(1)
    steps = next(step for step in range(1, 200) if pressure.update(0))
    assert steps == 28 + 50


def test_below_gamma_max_rest_does_not_count() -> None:
    pressure = Pressure(PressureSettings(gamma=0.05, q_max=3))
    while pressure.gamma < 0.1:
        assert not pressure.update(0)
    assert pressure.q == 0
    assert [pressure.update(0) for _ in range(3)] == [False, False, True]


def test_xi_eases_the_next_event() -> None:
    pressure = Pressure(PressureSettings(gamma=0.1, q_max=1, xi=2.0))
    assert pressure.update(0)
    assert pressure.n_max == pytest.approx(0.01)
    assert (pressure.q, pressure.settings.n_max) == (0, 0.005)


def test_state() -> None:
    """Restored in the middle, it goes on as if nothing had been."""
    script = [int(step % 97 == 3) for step in range(400)]
    whole, part = Pressure(PressureSettings(gamma=0.09)), Pressure(PressureSettings(gamma=0.09))
    for deleted in script:
        whole.update(deleted)
    for deleted in script[:150]:
        part.update(deleted)
    resumed = Pressure(PressureSettings())
    resumed.load_state_dict(part.state_dict())
    for deleted in script[150:]:
        resumed.update(deleted)
    assert resumed.state_dict() == whole.state_dict()


@pytest.mark.parametrize("changes", [{"phi": 1.0}, {"k": 1.0}, {"tau": 1.0}, {"gamma": 0.0}, {"q_max": 0}])
def test_constants_out_of_range(changes: dict) -> None:
    with pytest.raises(UsageError, match=next(iter(changes))):
        PressureSettings(**changes)
