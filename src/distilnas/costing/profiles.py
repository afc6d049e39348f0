"""All exact numbers of one network."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from distilnas.costing.measures import EXACT, MEASURES, Part
from distilnas.tables.measures import Number


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A network for one image at ``resolution``: all exact measures by name in ``costs``, and two more counts.

    ``attention_macs``: the part of ``macs`` that multiplies activations with activations; ``paper_flops``: as the DNA
    authors count (``counters``).
    """

    costs: Mapping[str, Number]
    attention_macs: int
    paper_flops: int
    resolution: int

    @property
    def macs(self) -> int:
        return int(self.costs["macs"])

    @property
    def params(self) -> int:
        return int(self.costs["params"])

    def to_dict(self) -> dict[str, Any]:
        """JSON values, the costs among them."""
        own = {"attention_macs": self.attention_macs, "paper_flops": self.paper_flops, "resolution": self.resolution}
        return {**self.costs, **own}


def profile(model: nn.Module, resolution: int, *, in_chans: int = 3) -> Profile:
    """The numbers of a classifier for one (in_chans, resolution, resolution) image; the model is not changed."""
    part = Part(model, (in_chans, resolution, resolution))
    return Profile(
        costs={name: MEASURES[name](part) for name in EXACT},
        attention_macs=part.counts.attention_macs,
        paper_flops=part.counts.paper_flops,
        resolution=resolution,
    )
