"""Records of a DNAD run's own steps: what its search found, and which of it was taken."""

from dataclasses import dataclass
from typing import Any

from distilnas.records.files import to_json
from distilnas.records.solution import LimitRecord


@dataclass(frozen=True, kw_only=True)
class FoundNetwork:
    """A derived network of a search.

    ``step``: after how many updates it was found, and for what ``reason``. ``accuracy``: of the supernet at that time,
    in percent, on held-out training images. ``front``: no other one beats it in multiply-adds and accuracy.
    """

    architecture: str
    params: int
    macs: int
    step: int
    reason: str
    accuracy: float
    front: bool


@dataclass(frozen=True, kw_only=True)
class SearchRecord:
    """What the search step says of itself; ``ended``: why."""

    method: str
    num_genotypes: int
    num_networks: int
    num_front: int
    num_events: int
    num_images: int
    ended: str

    def to_dict(self) -> dict[str, Any]:
        """JSON values; the number of genotypes as text, since it may have hundreds of digits."""
        return to_json(self) | {"num_genotypes": str(self.num_genotypes)}


@dataclass(frozen=True, kw_only=True)
class ChosenRecord:
    """``solve/solution.json``: the network chosen within ``budgets``, and the front by rising multiply-adds."""

    schema: int = 1
    budgets: dict[str, LimitRecord]
    solution: FoundNetwork
    front: tuple[FoundNetwork, ...] = ()
