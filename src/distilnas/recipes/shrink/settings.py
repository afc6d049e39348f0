"""Settings of the recipe ``shrink``."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from distilnas.errors import UsageError
from distilnas.latency.settings import LatencySettings
from distilnas.methods.dna import DistillSettings
from distilnas.recipes.settings import DataSettings, ExportSettings, RuntimeSettings, TeacherSettings, plain
from distilnas.recovery import RecoverySettings
from distilnas.space import FittedSpace

_MOST_EXPLORED = 30
IDENTITY = ("recipe", "seed", "data", "teacher", "library")


@dataclass(frozen=True, kw_only=True)
class CellSpace(FittedSpace):
    """Cells of one layer unless ``depths`` says more: the candidates of a block are its paths."""

    depths: tuple[int, ...] = (1,)


@dataclass(frozen=True, kw_only=True)
class CellSettings:
    """New layers: cells of a ``space`` fitted to the teacher's blocks, trained block by block as ``distill`` says.

    As in DNA every path of every cell becomes a candidate.
    """

    space: CellSpace = field(default_factory=CellSpace)
    distill: DistillSettings = field(default_factory=DistillSettings)

    def __post_init__(self) -> None:
        if self.distill.adapters == "absorb" or self.distill.feed == "student" or self.distill.blocks:
            raise UsageError(
                "cells of a library have adapters, read the teacher's features and are trained for every block: leave "
                "out adapters=absorb, feed=student and blocks of library.cells.distill."
            )


@dataclass(frozen=True, kw_only=True)
class LibrarySettings:
    """What the candidates are made of, and on how many images.

    ``ratios``: shares of a unit's inner channels that may stay, besides all. ``linear``: whether one linear map may
    take the place of a unit, or of all from there to the end of its block: it reaches budgets that cuts do not, and did
    not help at others. ``cells``: new layers in the place of whole blocks. ``resolutions``: shares of the side of the
    images that students may see instead, where the teacher works at them. ``images``: training images that the closed
    form reads (their labels are not used); ``rating_images``: held-out training images that candidates, students and
    alternatives are measured on.
    """

    ratios: tuple[float, ...] = (0.75, 0.5, 0.375, 0.25, 0.125)
    linear: bool = False
    cells: CellSettings | None = field(default=None, metadata={"recorded": "where it is not the default"})
    resolutions: tuple[float, ...] = (0.83, 0.67)
    images: int = 1500
    rating_images: int = 512

    def __post_init__(self) -> None:
        if not self.ratios or min(self.ratios) <= 0 or max(self.ratios) >= 1:
            raise UsageError(f"library.ratios are shares between 0 and 1, at least one, got {list(self.ratios)}.")
        if self.resolutions and not 0 < min(self.resolutions) <= max(self.resolutions) < 1:
            raise UsageError(f"library.resolutions are shares between 0 and 1, got {list(self.resolutions)}.")
        if self.images < 2 or self.rating_images < 4:
            raise UsageError(
                f"library.images must be at least 2 and library.rating_images at least 4, got {self.images} and "
                f"{self.rating_images}."
            )


@dataclass(frozen=True, kw_only=True)
class ChoiceSettings:
    """``assembled``: so many of the best solutions, of every kind first, are put together and measured before the long
    step, and the best of them goes on. ``tried``: of so many kinds (where they end, what images they see) the best is
    first recovered for a tenth of the length, and the one that is then nearest to the teacher goes on; 1: none, the
    measurement before training decides. ``curve``: at so many budgets a student is measured before any training.
    ``explorer``: so many budgets of every measure, in all combinations, are solved for the report; nothing is measured.
    """

    assembled: int = 5
    tried: int = 3
    curve: int = 8
    explorer: int = 16

    def __post_init__(self) -> None:
        if self.assembled < 1 or self.tried < 1 or self.curve < 0 or not 0 <= self.explorer <= _MOST_EXPLORED:
            raise UsageError(
                f"choice.assembled and choice.tried must be at least 1, choice.curve not negative and choice.explorer "
                f"from 0 to {_MOST_EXPLORED}, got {self.assembled}, {self.tried}, {self.curve} and {self.explorer}."
            )


@dataclass(frozen=True, kw_only=True)
class ShrinkSettings:
    """The recipe ``shrink``: students that keep their teacher's weights, one for each of ``budgets``.

    A budget maps a measure (``macs``, ``params``, ``bytes``, ``peak_memory``, ``latency_ms``) to the most that is
    allowed: a number or a share of the teacher's value. ``latency``: where and how that is measured.
    """

    recipe: Literal["shrink"] = "shrink"
    seed: int = 0
    data: DataSettings
    teacher: TeacherSettings
    budgets: tuple[Mapping[str, str | int], ...] = ({"macs": "50%"},)
    library: LibrarySettings = field(default_factory=LibrarySettings)
    choice: ChoiceSettings = field(default_factory=ChoiceSettings)
    latency: LatencySettings = field(default_factory=LatencySettings)
    recovery: RecoverySettings = field(default_factory=RecoverySettings)
    export: ExportSettings = field(default_factory=ExportSettings)
    runtime: RuntimeSettings = field(default_factory=RuntimeSettings)

    def __post_init__(self) -> None:
        if not self.budgets or not all(self.budgets):
            raise UsageError("budgets need at least one measure each, e.g. budgets=[{macs: 40%}].")
        if len({str(dict(budget)) for budget in self.budgets}) < len(self.budgets):
            raise UsageError(f"budgets name one twice: {[dict(budget) for budget in self.budgets]}.")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values (tuples become lists)."""
        return plain(self)

    def identity(self) -> dict[str, Any]:
        """The settings that a run folder is bound to; the others may change and only repeat what depends on them."""
        data = self.to_dict() | {"teacher": self.teacher.to_dict()}
        return {key: data[key] for key in IDENTITY}
