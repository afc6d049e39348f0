"""A DNA run, step by step: data, teacher, space, distill, rate, cost, solve, additivity, retrain, evaluate, export.

Every method is one step; ``students`` says how steps find each other, ``taught`` has the teacher's.
"""

from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save

from distilnas.costing import cost_table
from distilnas.files import read_json, write_bytes, write_json
from distilnas.methods.dna import RateSettings, distill, measure_additivity, rate
from distilnas.recipes.materials import Batches, finish_training
from distilnas.recipes.settings import Settings, plain
from distilnas.recipes.solving import check_budget, limits_of, random_choices, random_in_budget, read_choice, solve_run
from distilnas.recipes.spaces import resolve_space
from distilnas.recipes.taught import TaughtRun
from distilnas.recipes.teaching import DnaMaterials
from distilnas.runtime.seeds import derive_seed
from distilnas.runtime.store import Run, StepRecord
from distilnas.space import Architecture, SearchSpace
from distilnas.supernet import Supernet, build_supernet
from distilnas.tables import CostTable, RatingTable
from distilnas.tables.csv import write_ratings_csv

ADDITIVITY_SAMPLES = 30


class DnaRun(TaughtRun):
    """The steps of one run, made from ``materials``."""

    def __init__(self, run: Run, materials: DnaMaterials) -> None:
        super().__init__(run, materials, materials.settings.retrain)
        self.materials = materials
        self.settings: Settings = materials.settings

    def check(self) -> None:
        """Raise what is known to be wrong before the run writes or trains anything; cheap for a run that was begun."""
        teacher, space, number = self.resolved
        for block in self.settings.distill.block_indices(len(space.blocks)):
            self.settings.distill.block_optim(block, len(space.blocks))
        check_budget(space, cost_table(space, **self._sizes(number)), limits_of(self.settings.solve, teacher))

    @cached_property
    def resolved(self) -> tuple[dict[str, Any], SearchSpace, int]:
        """What the teacher is, the search space and the number of classes, without a step where none is finished."""
        if (self.run.folder / "space" / "step.json").exists():
            return self.teacher().result, self.search_space, len(self.data().result["classes"])
        teacher = self.materials.describe_teacher(self.materials.new_teacher())
        space = resolve_space(self.settings.space, teacher["partition"])
        return teacher, space, len(self.materials.splits.train.classes)

    # Steps

    def space(self) -> StepRecord:
        """Resolve the search space and check that it fits the teacher's blocks."""

        def work(folder: Path) -> dict[str, Any]:
            space = resolve_space(self.settings.space, teacher["partition"])
            write_json(folder / "space.json", space.to_dict())
            return {
                "name": space.name,
                "fingerprint": space.fingerprint,
                "num_architectures": str(space.num_architectures),
            }

        teacher = self.teacher().result
        return self._step("space", {"partition": teacher["partition"], "space": self._plain("space")}, work)

    def distill(self) -> StepRecord:
        """Train the supernet block by block under the teacher."""

        def work(folder: Path) -> dict[str, Any]:
            supernet = self._new_supernet()
            settings = self.settings.distill
            loop = self.materials.distill_loop(folder, self.splits.train)
            log = distill(supernet, self.teacher_blocks, settings, loop, device=self.device, seed=self.settings.seed)
            tensors = {key: value.detach().cpu().contiguous() for key, value in supernet.state_dict().items()}
            write_bytes(folder / "supernet.safetensors", save(tensors))
            result = {"adapters": supernet.adapters, "losses": log.epochs[-1] if log.epochs else {}}
            return result | finish_training(folder, log)

        keys = {"teacher": self.teacher().key, "space": self.space().key, "distill": self._plain("distill")}
        return self._step("distill", keys, work, together=True)

    def rate(self) -> StepRecord:
        """Rate every candidate on held-out training images."""
        return self._rate("rate", self.settings.rate)

    def cost(self) -> StepRecord:
        """Compute the cost tables of the space."""
        sizes = self._sizes(len(self.data().result["classes"]))

        def work(folder: Path) -> dict[str, Any]:
            table = cost_table(self.search_space, **sizes)
            table.save(folder / "costs.npz")
            return {"costs": list(table.costs)}

        return self._step("cost", {"space": self.space().key, **sizes}, work)

    def solve(self) -> StepRecord:
        """Find the best architecture under the budgets, with proof, alternatives and Pareto fronts."""
        limits = limits_of(self.settings.solve, self.teacher().result)
        number = self.settings.solve.alternatives

        def work(folder: Path) -> dict[str, Any]:
            record, fronts = solve_run(self.search_space, self.ratings, self.costs, limits, number)
            write_json(folder / "solution.json", record)
            write_json(folder / "front.json", fronts)
            architecture = Architecture.parse(record["solution"]["architecture"])
            write_json(folder / "architecture.json", architecture.to_dict())
            return record["solution"] | {"budgets": record["budgets"], "hash": architecture.fingerprint}

        budgets = {limit.cost: [limit.min, limit.max] for limit in limits}
        keys = {"rate": self.rate().key, "cost": self.cost().key, "budgets": budgets, "alternatives": number}
        return self._step("solve", keys, work)

    def additivity(self) -> StepRecord:
        """Compare rating sums with the imitation of assembled supernet paths."""
        solution = self.solve().result["choice"]

        def work(folder: Path) -> dict[str, Any]:
            choices = [
                read_choice(solution),
                *random_choices(self.search_space, ADDITIVITY_SAMPLES, self.settings.seed),
            ]
            batches = self._rating_batches
            found = measure_additivity(
                self.supernet, self.teacher_blocks, self.ratings, choices, batches, device=self.device
            )
            write_json(folder / "additivity.json", found.to_dict())
            return {"kendall_tau": found.kendall_tau, "spearman_rho": found.spearman_rho}

        return self._step("additivity", {"rate": self.rate().key, "choice": solution}, work)

    def random(self) -> list[tuple[StepRecord, StepRecord]]:
        """Retrain and test random networks of the same budget: (retrain, evaluate) of each."""
        settings = self.settings.random
        if not settings.number:
            return []
        solution = self.solve().result
        limits = limits_of(self.settings.solve, self.teacher().result)
        macs = solution["costs"]["macs"]
        drawn = random_in_budget(self.search_space, self.costs, limits, settings, macs, self.settings.seed)
        return [(self.retrain(a), self.evaluate(a)) for a in drawn]

    # What the steps share

    @cached_property
    def search_space(self) -> SearchSpace:
        """The space of the space step."""
        return SearchSpace.from_dict(read_json(self.space().folder / "space.json"))

    @cached_property
    def supernet(self) -> Supernet:
        """The distilled supernet."""
        record = self.distill()
        supernet = self._new_supernet()
        supernet.load_state_dict(load_file(record.folder / "supernet.safetensors"))
        return supernet

    @property
    def ratings(self) -> RatingTable:
        """The rating table of the rate step."""
        return RatingTable.load(self.rate().folder / "ratings.npz")

    @property
    def costs(self) -> CostTable:
        """The cost table of the cost step."""
        return CostTable.load(self.cost().folder / "costs.npz")

    @property
    def chosen(self) -> Architecture:
        """The architecture that the solve step chose."""
        return Architecture.parse(self.solve().result["architecture"])

    def _rate(self, name: str, settings: RateSettings) -> StepRecord:
        """Rate every candidate as ``settings`` say, in a step of its own."""

        def work(folder: Path) -> dict[str, Any]:
            table = rate(
                self.supernet,
                self.teacher_blocks,
                partial(self._rating_batches, settings),
                settings,
                device=self.device,
                progress=self.progress,
            )
            table.save(folder / "ratings.npz")
            write_ratings_csv(folder / "ratings.csv", table)
            return {
                "metric": table.metric,
                "num_candidates": self.search_space.num_candidates,
                "num_rated": table.num_rated,
                "num_images": table.num_images,
            }

        inputs = {"distill": self.distill().key, "rate": plain(asdict(settings))}
        return self._step(name, inputs, work, together=True)

    def _rating_batches(self, settings: RateSettings | None = None) -> Batches:
        """The held-out images of the run's own rating settings, or the first of them as others say."""
        settings = settings or self.settings.rate
        images = self.splits.rating.subset(range(settings.images))
        return self.materials.eval_batches(images, settings.batch_size, drop_last=True)

    def _new_supernet(self) -> Supernet:
        channels = tuple(tap["channels"] for tap in self.teacher().result["partition"]["taps"])
        adapters = self.settings.distill.adapters
        return build_supernet(self.search_space, channels, adapters=adapters, seed=derive_seed(self.settings.seed, 8))

    def _sizes(self, num_classes: int) -> dict[str, int]:
        return {"resolution": self.preprocessing.resolution, "num_classes": num_classes}

    def _plain(self, part: str) -> Any:
        return self.settings.to_dict()[part]
