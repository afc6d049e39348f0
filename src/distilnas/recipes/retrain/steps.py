"""Training one network: published, own or scaled, from scratch or from trained weights; tested, exported, summed up."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from distilnas.costing import profile
from distilnas.files import write_json
from distilnas.networks import build_network, save_student
from distilnas.recipes import doubts
from distilnas.recipes.frame import Job, Outline, Recipe, Step, conclude
from distilnas.recipes.materials import Materials
from distilnas.recipes.own import OwnTeacher
from distilnas.recipes.planning.bench import Plan
from distilnas.recipes.planning.disk import weights_mb
from distilnas.recipes.planning.forecast import USUAL_CLASSES, StandIn, StepForecast
from distilnas.recipes.retrain.network import GivenNetwork, read_network
from distilnas.recipes.retrain.settings import RetrainSettings
from distilnas.recipes.students import DATA, Evaluate, Export, Retrain, check_images, student_summary
from distilnas.runtime.progress import Progress
from distilnas.runtime.store import StepRecord
from distilnas.space.darts import AnyArchitecture

RetrainJob = Job[RetrainSettings, GivenNetwork]
RetrainPlan = Plan[RetrainSettings, GivenNetwork]


class KeepNetwork(Step[RetrainJob, AnyArchitecture]):
    """Keep the network, with its weights where it brings any."""

    name = "network"

    def keys(self, job: RetrainJob) -> dict[str, Any]:
        return {"architecture": str(job.given.architecture), "weights": job.given.weights_key}

    def work(self, job: RetrainJob, folder: Path) -> dict[str, Any]:
        network = job.given
        write_json(folder / "architecture.json", network.architecture.to_dict())
        if network.trained is not None:
            save_student(folder, network.trained, classes=(), preprocessing=job.preprocessing.to_dict())
        counts = profile(build_network(network.architecture), job.preprocessing.resolution)
        return counts.to_dict() | {"architecture": str(network.architecture), "hash": network.architecture.fingerprint}

    def load(self, job: RetrainJob) -> AnyArchitecture:
        return job.given.architecture

    def stand_in(self, plan: RetrainPlan) -> StandIn[AnyArchitecture]:
        return StandIn(artefact=plan.given.architecture)

    def probe(self, plan: RetrainPlan) -> StepForecast:
        if plan.given.trained is None:
            return StepForecast(name=self.name)
        begun = build_network(plan.given.architecture, num_classes=plan.classes)
        return StepForecast(name=self.name, disk_mb=weights_mb(begun))


def weights_of(job: RetrainJob) -> StepRecord | None:
    """Where the network's own weights are; None: it has none."""
    return job.do(NETWORK) if job.given.trained is not None else None


NETWORK = KeepNetwork()
RETRAIN = Retrain(of=NETWORK, start=weights_of)
EVALUATE, EXPORT = Evaluate(of=RETRAIN), Export(of=RETRAIN)


def open_retrain(settings: RetrainSettings, folder: Path, progress: Progress | None) -> tuple[Materials, GivenNetwork]:
    """Images as the network wants them, and the network."""
    return with_network(settings, read_network(settings.network, settings.data.resolution), progress)


def outline(settings: RetrainSettings, own: OwnTeacher | None, progress: Progress | None) -> Outline[GivenNetwork]:
    """For a forecast; a checkpoint of weights is not read."""
    network = read_network(replace(settings.network, weights=None), settings.data.resolution)
    return Outline(*with_network(settings, network, progress), classes=USUAL_CLASSES)


def with_network(
    settings: RetrainSettings, network: GivenNetwork, progress: Progress | None
) -> tuple[Materials, GivenNetwork]:
    """Images as the network wants them."""
    materials = Materials(
        data=settings.data,
        runtime=settings.runtime,
        seed=settings.seed,
        preprocessing=network.preprocessing,
        progress=progress,
    )
    return materials, network


def finish(job: RetrainJob, records: Mapping[str, StepRecord]) -> dict[str, Any]:
    """``summary.json``."""
    kept = {"architecture": "network/architecture.json", "fingerprint": records["network"].result["hash"]}
    found = student_summary(records, job.run.folder, **kept)
    found["warnings"] = doubts.of_student(records["evaluate"].result, "the network")
    return conclude(job, RETRAINING, records, found)


RETRAINING = Recipe(
    name="retrain",
    settings=RetrainSettings,
    steps=(DATA, NETWORK, RETRAIN, EVALUATE, EXPORT),
    open=open_retrain,
    check=check_images,
    finish=finish,
    outline=outline,
)
