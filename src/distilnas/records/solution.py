"""What a search's solve step answers, and how the answer does against other assembled networks."""

from dataclasses import dataclass
from typing import Any

from distilnas.records.files import to_json
from distilnas.space import Choice
from distilnas.tables.measures import Number


@dataclass(frozen=True, kw_only=True)
class SolvedNetwork:
    """One network that the solver returned; alternatives state their ``kind``.

    ``optimal``: proved to be the best, or at its place; ``bound``: no rating can be lower. ``seconds``: of the search.
    """

    kind: str = ""
    choice: Choice
    architecture: str | None = None
    rating: float
    costs: dict[str, Number]
    optimal: bool = False
    bound: float | None = None
    seconds: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON values, without a kind where it has none."""
        return {name: value for name, value in to_json(self).items() if name != "kind" or value}


@dataclass(frozen=True, kw_only=True)
class LimitRecord:
    """Limits of one cost."""

    min: Number | None = None
    max: Number | None = None


@dataclass(frozen=True, kw_only=True)
class Tie:
    """Paired comparison, over batches of rating images, of the solution and its nearest ``rival``."""

    tied: bool
    difference: float
    stderr: float
    p_value: float
    rival: str


@dataclass(frozen=True, kw_only=True)
class Solved:
    """``solve/solution.json``: the answer under ``budgets``; ``alternatives`` are runners-up and diverse choices."""

    schema: int = 1
    budgets: dict[str, LimitRecord]
    num_architectures: int
    solution: SolvedNetwork
    alternatives: tuple[SolvedNetwork, ...] = ()
    tie: Tie | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON values; the number of architectures as text, since it may have hundreds of digits."""
        return to_json(self) | {"num_architectures": str(self.num_architectures)}


Fronts = dict[str, tuple[SolvedNetwork, ...]]
"""``solve/front.json``: by cost, the networks with the best rating that can be had for theirs."""


@dataclass(frozen=True, kw_only=True)
class Held:
    """The solution held against other assembled ``networks``, of which so many measure ``better``."""

    networks: int
    better: int
    contradicted: bool


@dataclass(frozen=True, kw_only=True)
class Additivity:
    """``additivity/additivity.json``: ``predicted[n]``, the rating sum of choice n, and ``measured[n]``, the metric
    between its assembled path and the teacher at the end; the first choice is the solution.

    ``kendall_tau`` and ``spearman_rho`` (over all choices) are None for fewer than three, and where all predictions or
    all measurements are equal. ``held``: against those under the budget; None in runs that did not look.
    """

    predicted: tuple[float, ...]
    measured: tuple[float, ...]
    kendall_tau: float | None = None
    spearman_rho: float | None = None
    held: Held | None = None
