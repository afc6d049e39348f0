"""How many updates a recovery has, and each of its probes."""

from dataclasses import asdict, dataclass

from distilnas.errors import UsageError
from distilnas.recovery.settings import RecoverySettings

_FEWEST = 5  # updates that say something about a learning rate
_TRIAL = 0.1  # of a recovery's updates


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds of an update, and of a measurement on the held-out images."""

    update: float
    held_out: float

    def to_dict(self) -> dict[str, float]:
        """JSON values."""
        return asdict(self)


def updates_of(
    settings: RecoverySettings, per_epoch: int, *, fit_epochs: float | None = None, timing: Timing | None = None
) -> int:
    """The updates that the settings ask for.

    ``fit_epochs``: how long the teacher was fitted, half of which is the default; ``timing``: needed for ``minutes``.
    Raises ``UsageError`` where the settings leave the length open and no fit says it, and where minutes are too few.
    """
    if settings.minutes is not None:
        assert timing is not None
        return _updates_in(settings, per_epoch, timing)
    epochs = settings.epochs or (fit_epochs / 2 if fit_epochs else None)
    if epochs is None:
        raise UsageError("how long to recover is open, as the teacher was not fitted here: set epochs or minutes.")
    return max(1, round(epochs * per_epoch))


def probe_updates(settings: RecoverySettings, updates: int) -> int:
    """Updates with each learning rate before a recovery of ``updates``; 0 where so few would say nothing."""
    each = int(settings.probe * updates / settings.probes) if settings.probes else 0
    return each if each >= _FEWEST else 0


def trial_updates(updates: int) -> int:
    """Of each student that is tried before a recovery of ``updates``; 0 where so few would say nothing."""
    each = int(_TRIAL * updates)
    return each if each >= _FEWEST else 0


def _updates_in(settings: RecoverySettings, per_epoch: int, timing: Timing) -> int:
    """What fits with probes and with a measurement after each epoch and each probe."""
    probes = settings.probe if settings.probes else 0.0
    each = (1 + probes) * timing.update + timing.held_out / per_epoch
    assert settings.minutes is not None
    updates = int((60 * settings.minutes - (1 + settings.probes) * timing.held_out) / each)
    if updates < 1:
        raise UsageError(
            f"minutes={settings.minutes:g} are too few: an update takes {timing.update:.2g} s, a measurement on the "
            f"held-out images {timing.held_out:.2g} s. Give more minutes, or fewer validation images."
        )
    return updates
