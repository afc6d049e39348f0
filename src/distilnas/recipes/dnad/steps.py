"""A DNAD run, step by step: data, teacher, search, solve, retrain, evaluate, export.

Every method is one step; ``students`` says how steps find each other, ``taught`` has the teacher's. The search hands
over networks from dense to sparse (``search/networks.json``); what follows does not know the method.
"""

from collections.abc import Iterable
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from distilnas.data import split
from distilnas.files import read_json, write_json
from distilnas.methods.dnad import SearchNet, build_supernet, num_genotypes, search_bilevel, shrink
from distilnas.methods.dnad.costs import derived_counts
from distilnas.methods.dnad.recorder import Weighted
from distilnas.recipes.dnad.checks import check_search
from distilnas.recipes.dnad.choice import FoundNetwork, choose, found_networks, solution_record
from distilnas.recipes.dnad.settings import DnadSettings
from distilnas.recipes.materials import Batches, finish_training
from distilnas.recipes.settings import plain
from distilnas.recipes.solving import limits_of
from distilnas.recipes.taught import TaughtRun
from distilnas.recipes.teaching import TeacherMaterials
from distilnas.runtime.seeds import derive_seed
from distilnas.runtime.store import Run, StepRecord
from distilnas.solve import Limit
from distilnas.space.darts import DartsArchitecture
from distilnas.training import Loop


class DnadRun(TaughtRun):
    """The steps of one run, made from ``materials``."""

    def __init__(self, run: Run, materials: TeacherMaterials, settings: DnadSettings) -> None:
        super().__init__(run, materials, settings.retrain, auxiliary_weight=settings.auxiliary_weight)
        self.materials, self.settings = materials, settings
        self.darts_space = settings.space.resolve()

    def check(self) -> None:
        """Raise what is known to be wrong before the run writes or trains anything; cheap for a run that was begun."""
        teacher, classes = self.known
        check_search(self.settings, teacher, resolution=self.preprocessing.resolution, classes=classes)

    @cached_property
    def known(self) -> tuple[dict[str, Any] | None, int]:
        """What the teacher is (None: there is none) and the number of classes, without a step where none is finished.

        A teacher that is not imitated is none.
        """
        imitates = self.settings.imitates
        if (self.run.folder / ("teacher" if imitates else "data") / "step.json").exists():
            return (self.teacher().result if imitates else None), self.num_classes
        teacher = self.materials.describe_teacher(self.materials.new_teacher()) if imitates else None
        return teacher, len(self.materials.splits.train.classes)

    # Steps

    def search(self) -> StepRecord:
        """Search the space; leaves the networks found, and what the method knows of its way."""
        settings = self.settings.search
        method = getattr(settings, settings.method)
        work = self._shrink if settings.method == "shrink" else self._search_bilevel
        keys = {"data": self.data().key, "space": plain(asdict(self.darts_space)), "method": plain(asdict(method))}
        keys |= {"teacher": self.teacher().key if self.settings.imitates else None}
        return self._step("search", keys | {"preprocessing": self.preprocessing.to_dict()}, work)

    def solve(self) -> StepRecord:
        """Choose among the networks found, within the budgets."""
        searched = self.search()
        limits = self.limits

        def work(folder: Path) -> dict[str, Any]:
            chosen = choose(self.found, limits)
            architecture = DartsArchitecture.parse(chosen.architecture)
            record = solution_record(self.found, chosen, limits)
            write_json(folder / "solution.json", record)
            write_json(folder / "architecture.json", architecture.to_dict())
            return record["solution"] | {"budgets": record["budgets"], "hash": architecture.fingerprint}

        budgets = {limit.cost: [limit.min, limit.max] for limit in limits}
        return self._step("solve", {"search": searched.key, "budgets": budgets}, work)

    # What the steps share

    @property
    def chosen(self) -> DartsArchitecture:
        """The network that the solve step chose."""
        return DartsArchitecture.parse(self.solve().result["architecture"])

    @property
    def found(self) -> list[FoundNetwork]:
        """The networks of the search, in order of steps."""
        return [FoundNetwork(**network) for network in read_json(self.search().folder / "networks.json")]

    @property
    def limits(self) -> tuple[Limit, ...]:
        """The budgets; shares are those of the teacher's values."""
        return limits_of(self.settings.solve, self.known[0])

    @property
    def num_classes(self) -> int:
        """Classes of the images."""
        return len(self.data().result["classes"])

    def _shrink(self, folder: Path) -> dict[str, Any]:
        settings = self.settings.search.shrink
        found = shrink(
            self._new_supernet(),
            settings,
            self.materials.loop(folder, self.splits.train, settings, name="shrink"),
            resolution=self.preprocessing.resolution,
            device=self.device,
            seed=self.settings.seed,
            teacher=self.teacher_blocks if self.settings.imitates else None,
            held_out=self._held_out,
        )
        found.archive.save(folder / "archive.json")
        networks = found_networks(found.archive)
        if not found.archive.events:
            self.progress.message(
                f"no Pareto event before the search ended ({found.archive.ended}): the controller did not come to "
                f"rest. The other {len(networks)} snapshots are handed over; more epochs or a smaller q_max may reach "
                "events."
            )
        result = self._handed_over(folder, networks, found.archive.ended, len(found.archive.events))
        return result | finish_training(folder, found.log)

    def _search_bilevel(self, folder: Path) -> dict[str, Any]:
        settings = self.settings.search.bilevel
        supernet = self._new_supernet()
        loop = self._two_halves(folder)
        found = search_bilevel(supernet, settings, loop, device=self.device, seed=self.settings.seed)
        write_json(folder / "alphas.json", found.alphas.alpha.tolist())
        architecture = DartsArchitecture(
            genotype=found.genotype,
            stem=self.darts_space.stem,
            width=settings.evaluation_width,
            num_cells=settings.derived_cells(self.darts_space.num_cells),
        )
        resolution = self.preprocessing.resolution
        params, macs = derived_counts(architecture, resolution=resolution, num_classes=self.num_classes)
        network = FoundNetwork(
            architecture=str(architecture),
            params=params,
            macs=macs,
            step=loop.epochs * loop.steps_per_epoch,
            reason="end",
            accuracy=self.materials.accuracy(Weighted(supernet, found.alphas), self.splits.rating),
            front=True,
        )
        result = self._handed_over(folder, [network], "the last epoch is over", 0)
        return result | finish_training(folder, found.log)

    def _handed_over(self, folder: Path, networks: list[FoundNetwork], ended: str, events: int) -> dict[str, Any]:
        """Write the networks; the step's result."""
        write_json(folder / "networks.json", [asdict(network) for network in networks])
        return {
            "method": self.settings.search.method,
            "num_genotypes": str(self._num_genotypes()),
            "num_networks": len(networks),
            "num_front": sum(network.front for network in networks),
            "num_events": events,
            "num_images": len(self.splits.rating),
            "ended": ended,
        }

    def _num_genotypes(self) -> int:
        if self.settings.search.method == "shrink":
            return self.darts_space.num_genotypes
        return num_genotypes(self.darts_space, shared=self.settings.search.bilevel.shared)

    def _two_halves(self, folder: Path) -> Loop:
        """Pairs of batches, for the weights from one half of the training images and for the alphas from the other."""
        train, settings = self.splits.train, self.settings.search.bilevel
        seed = derive_seed(self.settings.seed, 31)
        weights, alphas = (
            self.materials.loop(folder, train.subset(part), settings, name="search")
            for part in split(train.labels, [0.5], seed)
        )

        def batches(epoch: int, start: int) -> Iterable[Any]:
            return zip(weights.batches(epoch, start), alphas.batches(epoch, start), strict=False)

        return replace(weights, batches=batches, steps_per_epoch=min(weights.steps_per_epoch, alphas.steps_per_epoch))

    def _held_out(self) -> Batches:
        return self.materials.eval_batches(self.splits.rating)

    def _new_supernet(self) -> SearchNet:
        return build_supernet(self.darts_space, num_classes=self.num_classes, seed=derive_seed(self.settings.seed, 8))
