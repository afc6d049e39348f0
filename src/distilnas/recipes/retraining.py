"""Training one network: published, own or scaled, from scratch or from trained weights; tested, exported, summed up."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from distilnas.costing import profile
from distilnas.files import write_json
from distilnas.networks import build_network, save_student
from distilnas.recipes.materials import Materials
from distilnas.recipes.network import GivenNetwork, NetworkSettings, read_network
from distilnas.recipes.running import drive, student_summary, write_summary
from distilnas.recipes.settings import DataSettings, RuntimeSettings, plain
from distilnas.recipes.students import StudentRun
from distilnas.runtime.progress import Progress
from distilnas.runtime.provenance import provenance
from distilnas.runtime.store import Run, StepRecord, key_of
from distilnas.space.darts import AnyArchitecture
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
    runtime: RuntimeSettings = field(default_factory=RuntimeSettings)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values (tuples become lists)."""
        return plain(asdict(self))

    def identity(self) -> dict[str, Any]:
        """The settings that a run folder is bound to; the network is known by its content, wherever it lies."""
        data = self.to_dict()
        return {key: data[key] for key in ("recipe", "seed", "data")}


class RetrainRun(StudentRun):
    """The steps of one run."""

    def __init__(self, run: Run, settings: RetrainSettings, progress: Progress | None) -> None:
        self.settings = settings
        self._network: GivenNetwork = read_network(settings.network, settings.data.resolution)
        materials = Materials(
            data=settings.data,
            runtime=settings.runtime,
            seed=settings.seed,
            preprocessing=self._network.preprocessing,
            progress=progress,
        )
        super().__init__(run, materials, settings.retrain, auxiliary_weight=settings.auxiliary_weight)

    def check(self) -> None:
        """Raise what is wrong with the images before the run writes or trains anything; see ``running.Checked``."""
        if not (self.run.folder / "data" / "step.json").exists():
            _ = self._materials.splits

    def network(self) -> StepRecord:
        """Keep the network, with its weights where it brings any."""
        given = self._network

        def work(folder: Path) -> dict[str, Any]:
            write_json(folder / "architecture.json", given.architecture.to_dict())
            if given.trained is not None:
                save_student(folder, given.trained, classes=(), preprocessing=self.preprocessing.to_dict())
            counts = profile(build_network(given.architecture), self.preprocessing.resolution)
            return asdict(counts) | {"architecture": str(given.architecture), "hash": given.architecture.fingerprint}

        return self._step("network", {"architecture": str(given.architecture), "weights": given.weights_key}, work)

    @property
    def chosen(self) -> AnyArchitecture:
        """The network of the settings."""
        return self._network.architecture

    @property
    def start(self) -> StepRecord | None:
        """The network's own weights."""
        return self.network() if self._network.trained is not None else None


STEPS: dict[str, Callable[[RetrainRun], StepRecord]] = {
    "retrain": RetrainRun.retrain,
    "evaluate": RetrainRun.evaluate,
    "export": RetrainRun.export,
}


def run_retrain(
    settings: RetrainSettings, folder: Path, *, progress: Progress | None = None, until: str | None = None
) -> dict[str, Any]:
    """Run everything, or up to the step ``until`` (a name in ``STEPS``), continuing where ``folder`` stands.

    Returns the content of ``summary.json``, or the step's result with ``until``.
    """
    return drive(
        folder, settings, lambda run: RetrainRun(run, settings, progress), steps=STEPS, finish=_finish, until=until
    )


def _finish(run: RetrainRun) -> dict[str, Any]:
    steps = {
        "data": run.data(),
        "network": run.network(),
        "retrain": run.retrain(),
        "evaluate": run.evaluate(),
        "export": run.export(),
    }
    folder, settings = run.run.folder, run.settings
    kept = {"architecture": "network/architecture.json", "fingerprint": steps["network"].result["hash"]}
    summary = {
        "run": folder.name,
        "recipe": settings.recipe,
        **student_summary(steps, folder, **kept),
        "provenance": provenance(seed=settings.seed, config_hash=key_of(settings.to_dict()), device=run.device.name),
    }
    write_summary(folder, summary, run.progress)
    return summary
