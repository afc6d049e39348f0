"""Block-wise training of a supernet under a run's teacher, as a step of any recipe."""

from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from safetensors.torch import load_file, save

from distilnas.files import write_bytes
from distilnas.methods.dna import DistillSettings, distill
from distilnas.recipes.dna import probes
from distilnas.recipes.frame import Job, Step
from distilnas.recipes.materials import finish_training
from distilnas.recipes.planning.bench import Plan
from distilnas.recipes.planning.forecast import StandIn, StepForecast
from distilnas.recipes.students import DATA
from distilnas.recipes.teaching import TEACHER, Teaching
from distilnas.runtime.seeds import derive_seed
from distilnas.space import SearchSpace
from distilnas.supernet import Supernet, build_supernet

_SUPERNET = "supernet.safetensors"
AnyJob = Job[Any, Teaching]
AnyPlan = Plan[Any, Teaching]


class TrainSupernet(Step[AnyJob, Supernet]):
    """Train the supernet block by block under the teacher.

    ``key``: where its settings stand.
    """

    name, together = "distill", True
    key: ClassVar[str] = "distill"

    def settings(self, job: AnyJob | AnyPlan) -> DistillSettings:
        """How it is trained."""
        raise NotImplementedError

    def space(self, job: AnyJob | AnyPlan) -> SearchSpace:
        """What it is made of."""
        raise NotImplementedError

    def work(self, job: AnyJob, folder: Path) -> dict[str, Any]:
        supernet, settings = self._new(job), self.settings(job)
        loop = job.materials.loop(folder, job.get(DATA).train, settings, name=self.name)
        log = distill(supernet, job.get(TEACHER), settings, loop, device=job.device, seed=job.settings.seed)
        tensors = {key: value.detach().cpu().contiguous() for key, value in supernet.state_dict().items()}
        write_bytes(folder / _SUPERNET, save(tensors))
        result = {"adapters": supernet.adapters, "losses": log.epochs[-1] if log.epochs else {}}
        return result | finish_training(folder, log)

    def load(self, job: AnyJob) -> Supernet:
        folder, supernet = job.do(self).folder, self._new(job)
        supernet.load_state_dict(load_file(folder / _SUPERNET))
        return supernet

    def stand_in(self, plan: AnyPlan) -> StandIn[Supernet]:
        self._new(plan)  # the first pays for what is imported and initialised once
        supernet, seconds = plan.timed(partial(self._new, plan))
        return StandIn(artefact=supernet, seconds=seconds)

    def shares(self, plan: AnyPlan) -> dict[str, float]:
        return {self.name: 6}

    def probe(self, plan: AnyPlan) -> StepForecast:
        return probes.distillation(
            plan, self.settings(plan), plan.made(self), plan.get(TEACHER), name=self.name, key=self.key
        )

    def _new(self, job: AnyJob | AnyPlan) -> Supernet:
        """The supernet before it is trained."""
        channels = tuple(tap["channels"] for tap in job.result(TEACHER)["partition"]["taps"])
        adapters, seed = self.settings(job).adapters, derive_seed(job.settings.seed, 8)
        return build_supernet(self.space(job), channels, adapters=adapters, seed=seed)
