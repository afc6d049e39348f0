"""Settings of the recipe ``retrain``."""

from dataclasses import dataclass, field
from typing import Any, Literal

from distilnas.recipes.retrain.network import NetworkSettings
from distilnas.recipes.settings import DataSettings, ExportSettings, RuntimeSettings, plain
from distilnas.training import ClassifierSettings


@dataclass(frozen=True, kw_only=True)
class RetrainSettings:
    """The recipe ``retrain``: one network, trained, tested and exported.

    ``auxiliary_weight``: of the auxiliary head's loss, for networks of the DARTS kind; 0: without the head.
    """

    recipe: Literal["retrain"] = "retrain"
    seed: int = 0
    data: DataSettings
    network: NetworkSettings
    retrain: ClassifierSettings = field(default_factory=ClassifierSettings)
    auxiliary_weight: float = 0.4
    export: ExportSettings = field(default_factory=ExportSettings)
    runtime: RuntimeSettings = field(default_factory=RuntimeSettings)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values (tuples become lists)."""
        return plain(self)

    def identity(self) -> dict[str, Any]:
        """The settings that a run folder is bound to; the network is known by its content, wherever it lies."""
        data = self.to_dict()
        return {key: data[key] for key in ("recipe", "seed", "data")}
