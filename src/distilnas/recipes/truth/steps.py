"""True accuracies, to compare ratings with or winners by: networks of a space, all trained and tested in the same way.

Each seed is a run in ``seed-S`` with every network's training as a step of its own, so that an interrupted run loses at
most one network, and more networks or seeds may be asked for later. ``truth.json`` is what ``distilnas rank --truth``
and the recipe ``rank`` read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from distilnas.data import Preprocessing
from distilnas.ranking import mean_stderr
from distilnas.recipes.frame import Job, Recipe, Series, Several, Step, write_results
from distilnas.recipes.materials import Materials
from distilnas.recipes.students import DATA, Evaluate, Retrain, check_images
from distilnas.recipes.truth.settings import RESOLUTION, TruthSettings
from distilnas.runtime.progress import Progress
from distilnas.runtime.provenance import provenance
from distilnas.runtime.store import key_of
from distilnas.space import Architecture
from distilnas.training import ClassifierSettings


@dataclass(frozen=True, kw_only=True)
class SeedSettings:
    """The settings of one seed's run."""

    settings: TruthSettings
    seed: int
    recipe: str = "truth"
    auxiliary_weight: ClassVar = 0.0

    @property
    def retrain(self) -> ClassifierSettings:
        """How every network is trained."""
        return self.settings.retrain

    def to_dict(self) -> dict[str, Any]:
        """Those of the recipe, for this seed."""
        return self.settings.to_dict() | {"seeds": [self.seed]}

    def identity(self) -> dict[str, Any]:
        """See ``frame.RunSettings``."""
        data = self.settings.to_dict()
        return {"recipe": self.recipe, "seed": self.seed, "data": data["data"], "retrain": data["retrain"]}


SeedJob = Job[SeedSettings, None]


@dataclass(frozen=True, kw_only=True)
class Trainings(Several[SeedJob]):
    """Every network trained and tested."""

    name: str = "networks"
    networks: tuple[Architecture, ...]

    def each(self, job: SeedJob) -> Sequence[Step[Any, Any]]:
        return [step for found in self.networks for step in _training(found)]


def _training(network: Architecture) -> tuple[Retrain, Evaluate]:
    retrain = Retrain(of=network)
    return retrain, Evaluate(of=retrain)


def measure(job: SeedJob, network: Architecture) -> dict[str, Any]:
    """Costs and test accuracy in percent of one network."""
    trained, tested = (job.do(step) for step in _training(network))
    costs = {cost: trained.result[cost] for cost in ("macs", "params")}
    return costs | {"accuracy": tested.result["top1"], "seconds": trained.seconds}


def run_seeds(settings: TruthSettings, folder: Path, progress: Progress) -> dict[str, Any]:
    """Train and test every network with every seed, continuing where ``folder`` stands.

    Writes ``truth.json``, {architecture: {name, accuracy, stderr, macs, params, accuracies}}, and returns the content
    of ``summary.json``.
    """
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
    trainings = Trainings(networks=tuple(networks.values()))
    recipe = Recipe(
        name="truth",
        settings=SeedSettings,
        steps=(DATA, trainings),
        open=lambda *_: (materials, None),
        check=check_images,
        finish=lambda job, _: {name: measure(job, found) for name, found in networks.items()},
    )
    return recipe.run(SeedSettings(settings=settings, seed=materials.seed), folder)


def _row(name: str, seeds: list[dict[str, Any]]) -> dict[str, Any]:
    accuracies = [seed["accuracy"] for seed in seeds]
    mean, stderr = mean_stderr(accuracies) if len(seeds) > 1 else (accuracies[0], None)
    costs = {cost: seeds[0][cost] for cost in ("macs", "params")}
    return {"name": name, "accuracy": mean, "stderr": stderr, **costs, "accuracies": accuracies}


def _refuse(settings: TruthSettings, folder: Path, verb: str) -> str:
    return f"the recipe 'truth' runs whole, it has no step {verb!r}; use distilnas run."


TRUTH = Series(name="truth", settings=TruthSettings, do=run_seeds, refuse=_refuse)
