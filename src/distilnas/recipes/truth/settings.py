"""Settings of the recipe ``truth``, and the networks that they name."""

from dataclasses import dataclass, field
from typing import Any, Literal

from distilnas.baselines.spos.sampling import uniform
from distilnas.config import parse_amount
from distilnas.costing import cost_table
from distilnas.errors import UsageError
from distilnas.ranking import NetworkNames
from distilnas.recipes.settings import DataSettings, RuntimeSettings, SpaceSettings, check_seeds, plain
from distilnas.recipes.spaces import named_space
from distilnas.runtime.seeds import derive_seed
from distilnas.space import Architecture, SearchSpace
from distilnas.training import ClassifierSettings

RESOLUTION = 32
_DRAWS = 100_000


@dataclass(frozen=True, kw_only=True)
class TruthSettings:
    """The recipe ``truth``.

    ``number`` networks are drawn from ``space`` by ``draw_seed``: in every block a cell, then for every layer an op,
    all equally likely; those outside ``min_macs`` and ``max_macs`` (40M) are left out. ``networks``: further ones by a
    name of the user's, as architecture text or digits. Every network is trained once with each of ``seeds``, which also
    split the images.
    """

    recipe: Literal["truth"] = "truth"
    data: DataSettings
    space: SpaceSettings
    number: int = 24
    draw_seed: int = 0
    min_macs: str | int | None = None
    max_macs: str | int | None = None
    networks: dict[str, str] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)
    retrain: ClassifierSettings = field(default_factory=ClassifierSettings)
    runtime: RuntimeSettings = field(default_factory=RuntimeSettings)

    def __post_init__(self) -> None:
        if self.number < 0 or self.number + len(self.networks) < 1:
            raise UsageError(f"there is no network to train: set number (got {self.number}) or networks.")
        check_seeds(self.seeds)
        if self.space.fitted is not None:
            raise UsageError("space.fitted needs a teacher to fit to; give space.preset or space.file.")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values (tuples become lists)."""
        return plain(self)

    def listed(self, num_classes: int) -> dict[str, Architecture]:
        """The networks by name, the user's first; one that is drawn is not among them.

        Raises ``UsageError`` for one that is not of the space and when too few of those drawn fit the budget.
        """
        space = named_space(self.space)
        names = NetworkNames(space)
        found = {name: space.architecture(names.choice(text)) for name, text in self.networks.items()}
        if len(set(found.values())) < len(found):
            raise UsageError(f"networks name the same network twice: {', '.join(found)}; every network may stand once.")
        drawn = self._drawn(space, num_classes, set(found.values()))
        named = {f"random-{number}": architecture for number, architecture in enumerate(drawn, start=1)}
        if taken := found.keys() & named.keys():
            raise UsageError(f"networks has {', '.join(sorted(taken))}, as those drawn are named; give other names.")
        return found | named

    def _drawn(self, space: SearchSpace, num_classes: int, known: set[Architecture]) -> list[Architecture]:
        costs = cost_table(space, resolution=self.data.resolution or RESOLUTION, num_classes=num_classes)
        least, most = (parse_amount(text) if text is not None else None for text in (self.min_macs, self.max_macs))
        found: dict[Architecture, None] = {}
        for draw in range(_DRAWS):
            if len(found) == self.number:
                return list(found)
            choice = uniform(space, derive_seed(self.draw_seed, 22), draw)
            macs = costs.total(space, choice)["macs"]
            if (least is None or least <= macs) and (most is None or macs <= most):
                architecture = space.architecture(choice)
                found |= {} if architecture in known else {architecture: None}
        raise UsageError(
            f"found only {len(found)} of {self.number} networks of space {space.name!r} from min_macs to "
            f"max_macs in {_DRAWS:,} draws; widen these or lower number."
        )
