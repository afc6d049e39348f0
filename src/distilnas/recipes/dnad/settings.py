"""All settings of a DNAD run; those of the search methods lie beside the methods."""

from dataclasses import dataclass, field
from typing import Any, Literal

from distilnas.errors import UsageError, nearest
from distilnas.methods.dnad import BilevelSettings, ShrinkSettings
from distilnas.recipes.budgets import BudgetSettings, check_budgets
from distilnas.recipes.settings import DataSettings, ExportSettings, RuntimeSettings, TeacherSettings, plain
from distilnas.space.darts.space import PRIMITIVE_SETS, DartsSpace
from distilnas.training import ClassifierSettings

IDENTITY = ("recipe", "seed", "data", "teacher", "space", "search")


@dataclass(frozen=True, kw_only=True)
class DartsSpaceSettings:
    """The supernet's size and ops: ``width`` (channels C of a node before the first reduction), ``num_cells``,
    ``primitives`` (the name of a set, p2, p3, darts7 or darts8, or a list of ops). ``stem``: cifar or imagenet.
    """

    stem: str = "cifar"
    width: int = 16
    num_cells: int = 8
    primitives: str | tuple[str, ...] = "p3"

    def __post_init__(self) -> None:
        self.resolve()

    def resolve(self) -> DartsSpace:
        """The space; raises ``UsageError`` for sizes and ops that do not exist."""
        ops = self.primitives
        if isinstance(ops, str):
            if ops not in PRIMITIVE_SETS:
                raise UsageError(f"unknown set of primitives {ops!r}; {nearest(ops, PRIMITIVE_SETS)}")
            ops = PRIMITIVE_SETS[ops]
        return DartsSpace(stem=self.stem, width=self.width, num_cells=self.num_cells, primitives=ops)


@dataclass(frozen=True, kw_only=True)
class DartsSearchSettings:
    """How the space is searched: ``shrink`` (DNAD; SNPS without imitation) or ``bilevel`` (DARTS, the baseline).

    ``held_out``: training images that no search learns from; accuracy on them ranks what the search hands over.
    """

    method: Literal["shrink", "bilevel"] = "shrink"
    shrink: ShrinkSettings = field(default_factory=ShrinkSettings)
    bilevel: BilevelSettings = field(default_factory=BilevelSettings)
    held_out: int = 5000

    def __post_init__(self) -> None:
        if self.held_out < 1:
            raise UsageError(f"search.held_out is a number of images, at least 1, got {self.held_out}.")

    @property
    def imitates(self) -> bool:
        """Whether the method wants a teacher."""
        return self.method == "shrink" and self.shrink.imitation.kappa > 0


@dataclass(frozen=True, kw_only=True)
class DnadSettings:
    """A DNAD run from teacher to student.

    ``teacher`` None, ``search.shrink.imitation.kappa`` 0 and ``search.method`` bilevel are searches without a teacher;
    where one is named all the same, only its preprocessing of images is used, so that runs compare.
    ``budget`` and its short forms in ``solve``: the network of the search with the best held-out accuracy within these
    limits is chosen.
    ``auxiliary_weight``: of the auxiliary head's loss in the retraining; 0: without the head.
    """

    recipe: Literal["dnad"] = "dnad"
    seed: int = 0
    data: DataSettings
    teacher: TeacherSettings | None = None
    space: DartsSpaceSettings = field(default_factory=DartsSpaceSettings)
    search: DartsSearchSettings = field(default_factory=DartsSearchSettings)
    budget: dict[str, Any] | None = field(default=None, metadata={"recorded": "where it is given"})
    solve: BudgetSettings = field(default_factory=BudgetSettings)
    retrain: ClassifierSettings = field(default_factory=ClassifierSettings)
    auxiliary_weight: float = 0.4
    export: ExportSettings = field(default_factory=ExportSettings)
    runtime: RuntimeSettings = field(default_factory=RuntimeSettings)

    def __post_init__(self) -> None:
        check_budgets(self)
        if self.search.method == "shrink" and "none" in self.space.resolve().primitives:
            raise UsageError(
                "a supernet that shrinks deletes its candidates and has no use for the op 'none': take it out of "
                "space.primitives (darts7 instead of darts8)."
            )
        if self.auxiliary_weight < 0:
            raise UsageError(f"auxiliary_weight must not be negative, got {self.auxiliary_weight}.")

    @property
    def imitates(self) -> bool:
        """Whether the search imitates a teacher."""
        return self.teacher is not None and self.search.imitates

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values (tuples become lists)."""
        return plain(self)

    def identity(self) -> dict[str, Any]:
        """The settings that a run folder is bound to; the others may change and only repeat what depends on them."""
        data = self.to_dict() | ({"teacher": self.teacher.to_dict()} if self.teacher else {})
        return {key: data[key] for key in IDENTITY}
