"""True accuracies, to compare ratings with or winners by: networks of a space, all trained and tested in the same way.

Each seed is a run in ``seed-S`` with every network's training as a step of its own, so that an interrupted run loses at
most one network, and more networks or seeds may be asked for later. ``truth.json`` is what ``distilnas rank --truth``
and the recipe ``rank`` read.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from distilnas.baselines.spos.sampling import uniform
from distilnas.config import parse_amount
from distilnas.costing import cost_table
from distilnas.data import Preprocessing
from distilnas.errors import UsageError
from distilnas.ranking import NetworkNames, mean_stderr
from distilnas.recipes.materials import Materials
from distilnas.recipes.running import drive, write_results
from distilnas.recipes.settings import DataSettings, RuntimeSettings, SpaceSettings, check_seeds, plain
from distilnas.recipes.spaces import named_space
from distilnas.recipes.students import StudentRun
from distilnas.runtime.progress import Progress, SilentProgress
from distilnas.runtime.provenance import provenance
from distilnas.runtime.seeds import derive_seed
from distilnas.runtime.store import Run, key_of
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
        return plain(asdict(self))

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


class TruthRun(StudentRun):
    """One seed: every network retrained and evaluated."""

    def __init__(self, run: Run, materials: Materials, training: ClassifierSettings, chosen: Architecture) -> None:
        super().__init__(run, materials, training)
        self._chosen = chosen

    def check(self) -> None:
        """Raise what is wrong with the images before the run writes or trains anything; see ``running.Checked``."""
        if not (self.run.folder / "data" / "step.json").exists():
            _ = self._materials.splits

    @property
    def chosen(self) -> Architecture:
        """The first network of the list."""
        return self._chosen

    def measure(self, architecture: Architecture) -> dict[str, Any]:
        """Costs and test accuracy in percent of one network."""
        trained, tested = self.retrain(architecture), self.evaluate(architecture)
        costs = {cost: trained.result[cost] for cost in ("macs", "params")}
        return costs | {"accuracy": tested.result["top1"], "seconds": trained.seconds}


@dataclass(frozen=True, kw_only=True)
class _Seed:
    """One seed's settings, as ``drive`` wants a recipe's."""

    settings: TruthSettings
    seed: int
    recipe: str = "truth"

    def to_dict(self) -> dict[str, Any]:
        return self.settings.to_dict() | {"seeds": [self.seed]}

    def identity(self) -> dict[str, Any]:
        data = self.settings.to_dict()
        return {"recipe": self.recipe, "seed": self.seed, "data": data["data"], "retrain": data["retrain"]}


def run_truth(
    settings: TruthSettings, folder: Path, *, progress: Progress | None = None, until: str | None = None
) -> dict[str, Any]:
    """Train and test every network with every seed, continuing where ``folder`` stands.

    Writes ``truth.json``, {architecture: {name, accuracy, stderr, macs, params, accuracies}}, and returns the content
    of ``summary.json``.
    """
    if until is not None:
        raise UsageError(f"the recipe 'truth' runs whole, it has no step {until!r}; use distilnas run.")
    progress = progress or SilentProgress()
    materials = _materials(settings, settings.seeds[0], progress)
    networks = settings.listed(len(materials.splits.train.classes))
    seeds = []
    for seed in settings.seeds:
        if seed != materials.seed:  # in place of the last ones: each keeps its decoded images
            materials = _materials(settings, seed, progress)
        seeds.append(_run_seed(settings, networks, materials, folder / f"seed-{seed}"))
    truth = {str(found): _row(name, [rows[name] for rows in seeds]) for name, found in networks.items()}
    summary = {
        "run": folder.name,
        "recipe": settings.recipe,
        "networks": len(networks),
        "seeds": list(settings.seeds),
        "accuracy": {row["name"]: row["accuracy"] for row in truth.values()},
        "seconds": {"retrain": round(sum(row["seconds"] for rows in seeds for row in rows.values()), 1)},
        "artefacts": {"truth": "truth.json"},
        "provenance": provenance(
            seed=settings.draw_seed, config_hash=key_of(settings.to_dict()), device=materials.device.name
        ),
    }
    write_results(folder, truth=truth, summary=summary)
    return summary


def _materials(settings: TruthSettings, seed: int, progress: Progress) -> Materials:
    return Materials(
        data=settings.data,
        runtime=settings.runtime,
        seed=seed,
        preprocessing=Preprocessing(resolution=settings.data.resolution or RESOLUTION, crop_pct=1.0),
        progress=progress,
    )


def _run_seed(
    settings: TruthSettings, networks: Mapping[str, Architecture], materials: Materials, folder: Path
) -> dict[str, dict[str, Any]]:
    materials.progress.message(f"seed {materials.seed}: {len(networks)} networks")
    first = next(iter(networks.values()))
    return drive(
        folder,
        _Seed(settings=settings, seed=materials.seed),
        lambda run: TruthRun(run, materials, settings.retrain, first),
        steps={},
        finish=lambda run: {name: run.measure(found) for name, found in networks.items()},
        until=None,
    )


def _row(name: str, seeds: list[dict[str, Any]]) -> dict[str, Any]:
    accuracies = [seed["accuracy"] for seed in seeds]
    mean, stderr = mean_stderr(accuracies) if len(seeds) > 1 else (accuracies[0], None)
    costs = {cost: seeds[0][cost] for cost in ("macs", "params")}
    return {"name": name, "accuracy": mean, "stderr": stderr, **costs, "accuracies": accuracies}
