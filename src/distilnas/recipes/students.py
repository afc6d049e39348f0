"""The steps of every run that ends in trained networks: the images, then training, test and export of each.

Where a network comes from is the matter of an earlier step, or of whoever has drawn it.
"""

import json
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from distilnas.costing import profile
from distilnas.data import DataSplits
from distilnas.errors import UsageError
from distilnas.export import export_onnx, export_program
from distilnas.export.program import PROGRAM
from distilnas.files import write_bytes
from distilnas.networks import build_network, load_student, save_student
from distilnas.networks.files import CONFIG as STUDENT_CONFIG
from distilnas.networks.files import WEIGHTS as STUDENT_WEIGHTS
from distilnas.recipes import verbs
from distilnas.recipes.frame import Job, Step
from distilnas.recipes.images import describe_splits
from distilnas.recipes.int8 import ONNX, quantised
from distilnas.recipes.materials import finish_training
from distilnas.recipes.planning.bench import Plan
from distilnas.recipes.planning.disk import onnx_mb, program_mb, weights_mb
from distilnas.recipes.planning.forecast import StandIn, StepForecast, Work
from distilnas.recipes.planning.steps import testing_step, training_step
from distilnas.recipes.settings import UNLABELLED, plain
from distilnas.recipes.unlabelled import WORDS
from distilnas.records.files import to_json
from distilnas.retrain import AUXILIARY, retrain
from distilnas.runtime.store import StepRecord
from distilnas.space.darts import AnyArchitecture
from distilnas.tables.measures import costs_in
from distilnas.teachers import TeacherBlocks

AnyJob = Job[Any, Any]
AnyPlan = Plan[Any, Any]


class Data(Step[AnyJob, DataSplits]):
    """Read and split the images; hands on the parts, checked to be those that the run began with."""

    name = "data"

    def keys(self, job: AnyJob) -> dict[str, Any]:
        return {"data": plain(job.materials.data), "rating": job.materials.rating_images}

    def work(self, job: AnyJob, folder: Path) -> dict[str, Any]:
        return to_json(describe_splits(job.materials.splits, job.materials.data))

    def stand_in(self, plan: AnyPlan) -> StandIn[DataSplits]:
        splits = plan.images.splits
        return StandIn(artefact=splits, result={"classes": list(splits.train.classes)})

    def probe(self, plan: AnyPlan) -> StepForecast:
        note = "without the check for damaged files" if plan.images.real else "of images that are not here"
        seconds = plan.images.seconds + plan.bench.held.seconds
        return StepForecast(name=self.name, works=(Work(fixed=seconds),), note=note)

    def load(self, job: AnyJob) -> DataSplits:
        recorded, splits = job.result(self)["fingerprint"], job.materials.splits
        if describe_splits(splits, job.materials.data).fingerprint != recorded:
            raise UsageError(f"the images changed since {job.run.folder} was begun; give another folder with --run.")
        return splits


DATA = Data()


def check_images(job: AnyJob) -> None:
    """Raise what is wrong with the images, before anything is written; cheap for a run that has them."""
    if not job.finished(DATA):
        _ = job.materials.splits
        if job.materials.data.source == UNLABELLED:
            job.progress.message(f"mind: {WORDS}")


class LeavesNetwork(Step[AnyJob, None]):
    """A step with a trained network in its folder."""

    @abstractmethod
    def network(self, plan: AnyPlan) -> nn.Module:
        """One like it, of random weights."""


@dataclass(frozen=True, kw_only=True)
class Retrain(LeavesNetwork):
    """Train a network on the labels, as ``retrain`` (and ``auxiliary_weight``) of the run's settings say.

    ``of``: the step that hands on the architecture, or one. ``start``: gives the record of the step with a trained
    network whose weights it starts from; None: from scratch. ``teacher``: the step that hands on the teacher's blocks,
    where the settings may ask for a teacher.
    """

    name: str = "retrain"
    of: Step[Any, AnyArchitecture] | AnyArchitecture
    start: Callable[[AnyJob], StepRecord | None] = lambda _: None
    teacher: Step[Any, TeacherBlocks] | None = None
    verb: ClassVar = verbs.RETRAIN
    together: ClassVar = True

    def architecture(self, job: AnyJob) -> AnyArchitecture:
        """The network."""
        return job.get(self.of) if isinstance(self.of, Step) else self.of

    def taught_by(self, job: AnyJob | AnyPlan) -> Step[Any, TeacherBlocks] | None:
        """The teacher's step where the run's settings ask for a teacher."""
        return self.teacher if self.teacher and job.settings.retrain.teacher else None

    def place(self, job: AnyJob) -> str:
        return f"students/{self.architecture(job).fingerprint}/{self.name}"

    def keys(self, job: AnyJob) -> dict[str, Any]:
        found, start, teacher = self.architecture(job), self.start(job), self.taught_by(job)
        keys = {"data": job.key(DATA), "architecture": str(found), "retrain": plain(job.settings.retrain)}
        keys |= {"preprocessing": job.preprocessing.to_dict()} | ({"start": start.key} if start else {})
        keys |= {"teacher": job.key(teacher)} if teacher else {}
        if found.kind in AUXILIARY:
            keys["auxiliary_weight"] = job.settings.auxiliary_weight
        return keys

    def work(self, job: AnyJob, folder: Path) -> dict[str, Any]:
        found, start, splits = self.architecture(job), self.start(job), job.get(DATA)
        classes, teacher = splits.train.classes, self.taught_by(job)
        trained = retrain(
            found,
            job.settings.retrain,
            num_classes=len(classes),
            seed=job.materials.seed,
            name=f"retrain {found.fingerprint[:6]}",
            auxiliary_weight=job.settings.auxiliary_weight,
            start=load_student(start.folder) if start else None,
            teacher=job.get(teacher).model if teacher else None,
            **job.materials.training_inputs(folder, splits),
        )
        save_student(folder, trained.model, classes=classes, preprocessing=job.preprocessing.to_dict())  # type: ignore[arg-type]
        counts = profile(trained.model, job.preprocessing.resolution)
        return counts.to_dict() | {"architecture": str(found)} | finish_training(folder, trained.log)

    def network(self, plan: AnyPlan, **head: bool) -> nn.Module:
        """See ``LeavesNetwork``; with an auxiliary ``head`` as it is trained."""
        assert isinstance(self.of, Step)
        return build_network(plan.get(self.of), num_classes=plan.classes, **head)

    def shares(self, plan: AnyPlan) -> dict[str, float]:
        return {self.name: 4}

    def probe(self, plan: AnyPlan) -> StepForecast:
        assert isinstance(self.of, Step)
        found, weight = plan.get(self.of), plan.settings.auxiliary_weight
        head = {"auxiliary": True} if weight and found.kind in AUXILIARY else {}
        taught_by = self.taught_by(plan)
        teacher = plan.get(taught_by).model if taught_by else None
        return training_step(
            plan.bench,
            self.name,
            "retrain",
            partial(retrain, found, num_classes=plan.classes, auxiliary_weight=weight, teacher=teacher),
            plan.settings.retrain,
            plan.bench.passes("evaluate", self.network(plan)),
            trained=self.network(plan, **head),
            kept=self.network(plan),
        )


@dataclass(frozen=True, kw_only=True)
class Evaluate(Step[AnyJob, None]):
    """Test a trained network, read back from its files, on images never used before."""

    name: str = "evaluate"
    of: Retrain
    verb: ClassVar = verbs.EVALUATE

    def place(self, job: AnyJob) -> str:
        return beside(self.of.place(job), self.name)

    def keys(self, job: AnyJob) -> dict[str, Any]:
        return {"retrain": job.key(self.of), "data": job.key(DATA)}

    def work(self, job: AnyJob, folder: Path) -> dict[str, Any]:
        return job.materials.test(load_student(job.do(self.of).folder), job.get(DATA).test)

    def shares(self, plan: AnyPlan) -> dict[str, float]:
        return {self.name: 1}

    def probe(self, plan: AnyPlan) -> StepForecast:
        return testing_step(plan.bench, self.name, plan.bench.passes(self.name, self.of.network(plan)))


@dataclass(frozen=True, kw_only=True)
class Export(Step[AnyJob, None]):
    """The folder to hand over: safetensors, description, ONNX and a program of PyTorch, checked against the network.

    ``read``: the network of a folder.
    """

    name: str = "export"
    of: LeavesNetwork
    read: Callable[[AnyJob, Path], Any] = lambda _, folder: load_student(folder)
    verb: ClassVar = verbs.EXPORT

    def place(self, job: AnyJob) -> str:
        return beside(self.of.place(job), self.name)

    def keys(self, job: AnyJob) -> dict[str, Any]:
        return {"retrain": job.key(self.of)} | plain(job.settings.export)

    def work(self, job: AnyJob, folder: Path) -> dict[str, Any]:
        for name in (STUDENT_WEIGHTS, STUDENT_CONFIG):
            write_bytes(folder / name, (job.do(self.of).folder / name).read_bytes())
        student = self.read(job, folder)
        wants = replace(job.preprocessing, resolution=student.student_config["preprocessing"]["resolution"])
        images, _ = next(iter(job.materials.eval_batches(job.get(DATA).validation, preprocessing=wants)))
        asked, splits = job.settings.export, job.get(DATA)
        told = _metadata(student.student_config)
        report = asdict(export_onnx(student, folder / ONNX, images[:32], opset=asked.opset, metadata=told))
        if asked.program:
            export_program(student, folder / PROGRAM, images[:32])
        return report | ({"int8": quantised(job, folder, splits.train, splits.validation, wants)} if asked.int8 else {})

    def probe(self, plan: AnyPlan) -> StepForecast:
        """Disk only: how long the ONNX export takes is not forecast."""
        model, note = self.of.network(plan), "seconds to a minute, not forecast"
        program = program_mb(model) if plan.settings.export.program else 0.0
        return StepForecast(name=self.name, disk_mb=weights_mb(model) + onnx_mb(model) + program, note=note)


def _metadata(config: Mapping[str, Any]) -> dict[str, str]:
    """What an ONNX file says of itself, of a student's description; lists and mappings as JSON."""
    told = {name: json.dumps(config[name]) for name in ("classes", "preprocessing") if name in config}
    parent = (config.get("parent") or {}).get("model")
    return told | {"architecture": config["architecture_text"]} | ({"parent": parent} if parent else {})


def beside(place: str, name: str) -> str:
    """The folder of another step of the same network."""
    return f"{place.rpartition('/')[0]}/{name}"


def student_summary(
    records: Mapping[str, StepRecord], folder: Path, *, architecture: str, fingerprint: str
) -> dict[str, Any]:
    """What every ``summary.json`` says of a network that was retrained, evaluated and exported in the run ``folder``.

    ``architecture``: where the run keeps its description, relative to the run as all paths are.
    """
    retrained, exported = records["retrain"].result, records["export"].folder.relative_to(folder)
    return {
        "student": {
            "top1": records["evaluate"].result["top1"],
            "top5": records["evaluate"].result["top5"],
            **costs_in(retrained),
            "architecture": retrained["architecture"],
            "hash": fingerprint,
        },
        "onnx": records["export"].result,
        "artefacts": {
            "architecture": architecture,
            "weights": f"{exported}/model.safetensors",
            "onnx": f"{exported}/model.onnx",
            "report": "report.html",
        },
    }
