"""What a benchmark can be told."""

from dataclasses import dataclass

import torch

from distilnas.errors import UsageError
from distilnas.runtime.device import Device

TRAINING_LEAD = 2


@dataclass(frozen=True, kw_only=True)
class BenchSettings:
    """``accelerator``: ``auto cpu cuda``; ``threads``: of torch on a CPU, None leaves them as they are.

    ``repeats``: timed turns of every alternative, of which the median counts. ``batch``: images at a time, None is the
    benchmark's own for the device. ``quick``: tiny sizes and one turn, to see that everything works.
    """

    accelerator: str = "auto"
    threads: int | None = None
    repeats: int = 5
    batch: int | None = None
    quick: bool = False

    def __post_init__(self) -> None:
        for name, value, least in (
            ("threads", self.threads, 1),
            ("repeats", self.repeats, 1),
            ("batch", self.batch, 2),
        ):
            if value is not None and value < least:
                raise UsageError(f"{name} must be at least {least}, got {value}.")

    @property
    def turns(self) -> int:
        """Timed turns of every alternative."""
        return 1 if self.quick else self.repeats

    @property
    def lead(self) -> int:
        """Runs of a training step before each that is timed."""
        return 0 if self.quick else TRAINING_LEAD

    def device(self, precision: str = "32-true") -> Device:
        """The device in a precision."""
        return Device(self.accelerator, precision)

    @property
    def on_cpu(self) -> bool:
        return self.device().fabric.device.type == "cpu"

    def images(self, *, cpu: int, cuda: int, quick: int) -> int:
        """Images at a time: what was asked for, else what suits."""
        return self.batch or (quick if self.quick else cpu if self.on_cpu else cuda)

    def set_threads(self) -> None:
        if self.threads is not None:
            torch.set_num_threads(self.threads)
