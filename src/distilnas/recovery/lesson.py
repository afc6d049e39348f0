"""What a student learns from: its teacher, images, and where it is trained."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torch import nn

from distilnas.data import ImageSet, Preprocessing
from distilnas.recovery.heldout import HeldOut
from distilnas.recovery.outputs import check_paths
from distilnas.recovery.views import Views
from distilnas.runtime.device import Device
from distilnas.runtime.progress import Progress


@dataclass(frozen=True, kw_only=True, eq=False)
class Lesson:
    """``teacher``: any classifier; stays in eval mode and is not changed. ``images``: to train with; their labels are
    used only where the settings ask for them. ``validation`` images only measure.

    ``preprocessing``: how the student wants its images; ``teacher_preprocessing``: the teacher, None: in the same way.
    ``pairs``: paths of modules, in the student and in the teacher, whose outputs have equal shapes and are
    compared. ``checkpoint``: where an interrupted training lies, as for ``train_classifier``; other files of a recovery
    lie beside it.
    """

    teacher: nn.Module
    images: ImageSet
    validation: ImageSet
    preprocessing: Preprocessing
    teacher_preprocessing: Preprocessing | None = None
    pairs: tuple[tuple[str, str], ...] = ()
    device: Device
    seed: int
    checkpoint: Path
    progress: Progress
    checkpoint_seconds: float | None = 30.0
    workers: int = 0

    def __post_init__(self) -> None:
        check_paths(self.teacher, [path for _, path in self.pairs])
        self.device.module(self.teacher).eval()

    @cached_property
    def views(self) -> Views:
        """What both networks see."""
        return Views(student=self.preprocessing, teacher=self.teacher_preprocessing or self.preprocessing)

    @cached_property
    def held_out(self) -> HeldOut:
        """The validation images as the teacher sees them."""
        return HeldOut(self.teacher, self.validation, self.views.teacher, self.device, workers=self.workers)

    def measure(self, student: nn.Module) -> dict[str, float]:
        """How near ``student`` is on the validation images, see ``HeldOut.measure``."""
        return self.held_out.measure(self.device.module(student), self.preprocessing)
