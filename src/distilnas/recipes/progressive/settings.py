"""Settings of the recipe ``progressive``."""

from dataclasses import dataclass, field
from typing import Any, Literal

from distilnas.errors import UsageError
from distilnas.recipes.retrain.network import ScaleSettings
from distilnas.recipes.settings import Settings, plain
from distilnas.training import ClassifierSettings


@dataclass(frozen=True, kw_only=True)
class ProgressiveSettings:
    """The recipe ``progressive``: ``rounds`` searches as ``dna`` says, the first under its teacher.

    ``scale``: how large a winner grows before it teaches; a share such as 100% is one of the first teacher's. The first
    teacher's partition is its own; winners are cut as ``auto`` proposes.
    ``retrain``: how the grown winner is trained.
    """

    recipe: Literal["progressive"] = "progressive"
    rounds: int = 2
    dna: Settings
    scale: ScaleSettings
    retrain: ClassifierSettings = field(default_factory=ClassifierSettings)

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise UsageError(f"rounds must be at least 1, got {self.rounds}.")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values (tuples become lists)."""
        return plain(self)
