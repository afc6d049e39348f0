"""Trainings whose steps are taken by hand."""

from pathlib import Path

from distilnas.runtime.progress import SilentProgress
from distilnas.training import Loop


def loop_by_hand() -> Loop:
    """What a training asks for its lengths: one epoch of many steps, no batches, no checkpoint."""
    return Loop(
        name="bench",
        epochs=1,
        steps_per_epoch=1000,
        batches=lambda epoch, start: (),
        checkpoint=Path("none"),
        progress=SilentProgress(),
        checkpoint_seconds=None,
    )
