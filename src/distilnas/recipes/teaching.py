"""The teacher of a run: which one, what is asked of it, and the steps that every run with a teacher has."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Protocol

from safetensors.torch import load_file, save
from timm.models import get_pretrained_cfg
from torch import nn

from distilnas.costing import count, profile
from distilnas.data import DataSplits, Preprocessing
from distilnas.errors import UsageError
from distilnas.files import write_bytes
from distilnas.networks import load_student
from distilnas.recipes import doubts
from distilnas.recipes.frame import Job, Step
from distilnas.recipes.materials import Materials, finish_training, majority
from distilnas.recipes.own import OwnImages, OwnTeacher
from distilnas.recipes.planning.bench import Plan
from distilnas.recipes.planning.disk import weights_mb
from distilnas.recipes.planning.forecast import USUAL_CLASSES, StandIn, StepForecast, Work
from distilnas.recipes.planning.probes import settle
from distilnas.recipes.planning.steps import testing_step, testing_work, training_step
from distilnas.recipes.settings import UNLABELLED, DataSettings, RuntimeSettings, TeacherSettings
from distilnas.recipes.students import DATA
from distilnas.recipes.unlabelled import named, outputs_of
from distilnas.runtime.device import Device
from distilnas.runtime.progress import Progress
from distilnas.runtime.seeds import derive_seed, torch_seed
from distilnas.teachers import Partition, TeacherBlocks, create_teacher, propose
from distilnas.training import Trained, TrainingLog, train_classifier

WEIGHTS = "teacher.safetensors"
Cut = Callable[[nn.Module, int, str | Sequence[str]], Partition]
"""``cut(model, resolution, policy)``: where the teacher's features are taken."""


class Teaching:
    """Which teacher a run has, and what is made of it with the run's ``materials``.

    ``settings``: None where there is no teacher; whatever is asked of it then raises ``UsageError``. ``own``: the
    user's trained module, in place of a timm model.
    """

    def __init__(
        self,
        settings: TeacherSettings | None,
        materials: Materials,
        *,
        cut: Cut = propose,
        own: OwnTeacher | None = None,
    ) -> None:
        self._settings, self._materials, self._cut, self.own = settings, materials, cut, own

    @property
    def settings(self) -> TeacherSettings:
        """Which teacher."""
        if self._settings is None:
            raise UsageError("this run has no teacher; name one in its settings.")
        return self._settings

    @property
    def resolution(self) -> int:
        """Side of its images in pixels."""
        return self._materials.preprocessing.resolution

    @property
    def device(self) -> Device:
        """Where it computes."""
        return self._materials.device

    def new(self) -> nn.Module:
        """The teacher on the device with the weights that the settings or the user give, before any fitting."""
        number = len(self._materials.splits.train.classes)
        with torch_seed(derive_seed(self._materials.seed, 7)):
            model = self.own.copy() if self.own else _new_teacher(self.settings, number)
        check_classes(model, number, self.resolution)
        return self.device.module(model)

    def name_classes(self, splits: DataSplits) -> DataSplits:
        """Images without classes with those that the teacher takes them for.

        Raises ``UsageError`` for a teacher that is to be fitted, which needs true ones.
        """
        if self.own is None and self.settings.fit is not None:
            raise UsageError(
                f"{self._materials.data.path} has no folders of classes: to fine-tune a teacher sort the images into "
                "CLASS/ folders; else give a teacher that is ready, and leave out teacher.fit (--fit-epochs)."
            )
        names = outputs_of(self.own or self.settings, self.resolution)
        model = self.own.copy() if self.own else _new_teacher(self.settings, len(names))
        return named(splits, names, model, self._materials)

    def bare(self, num_classes: int) -> nn.Module:
        """A network of the teacher's kind as it is made elsewhere, to load the run's weights into: to be cut."""
        return self.own.copy() if self.own else _empty_teacher(self.settings, num_classes)

    def empty(self, num_classes: int) -> nn.Module:
        """The same on the device, with its fast layers."""
        return self.device.module(self.bare(num_classes))

    def fit(self, folder: Path, splits: DataSplits) -> tuple[nn.Module, TrainingLog | None]:
        """The teacher ready to teach, and the log of its training where the settings ask for one."""
        model, settings = self.new(), self.settings.fit
        if settings is None:
            return model.eval(), None
        fitted = train_classifier(
            model,
            settings=settings,
            name="fit teacher",
            seed=self._materials.seed,
            **self._materials.training_inputs(folder, splits),
        )
        return fitted.model, fitted.log

    def describe(self, model: nn.Module) -> dict[str, Any]:
        """Counts and proposed partition, as JSON values."""
        partition = self._cut(model, self.resolution, self.settings.partition)
        counts = profile(model, self.resolution)
        blocks = TeacherBlocks(model, partition).describe(lambda part, shape: count(part, shape).macs)
        return {
            "name": type(model).__name__ if self.own else self.settings.student or self.settings.model,
            **counts.costs,
            "attention_macs": counts.attention_macs,
            "paper_flops": counts.paper_flops,
            "preprocessing": self._materials.preprocessing.to_dict(),
            "partition": partition.to_dict(),
            "blocks": blocks,
        }


class TaughtSettings(Protocol):
    """Settings of a run that may have a teacher."""

    @property
    def seed(self) -> int: ...
    @property
    def data(self) -> DataSettings: ...
    @property
    def runtime(self) -> RuntimeSettings: ...


def taught(
    settings: TaughtSettings,
    teacher: TeacherSettings | None,
    *,
    rating_images: int,
    preprocessing: Preprocessing | None = None,
    cut: Cut = propose,
    own: OwnTeacher | None = None,
    images: OwnImages | None = None,
    progress: Progress | None = None,
) -> tuple[Materials, Teaching]:
    """Materials whose images are as the teacher wants them, and the teacher.

    ``rating_images`` are held out of the training set. Without a ``teacher``, ``preprocessing`` is needed. ``own``,
    ``images``: the user's.
    """
    preprocessing = own.preprocessing if own else preprocessing
    if preprocessing is None:
        assert teacher is not None
        preprocessing = teacher_preprocessing(teacher, settings.data)
    materials = Materials(
        data=settings.data,
        runtime=settings.runtime,
        seed=settings.seed,
        preprocessing=preprocessing,
        rating_images=rating_images,
        images=images,
        progress=progress,
    )
    teaching = Teaching(teacher, materials, cut=cut, own=own)
    if settings.data.source == UNLABELLED:
        materials.name_classes = teaching.name_classes
    return materials, teaching


def teacher_preprocessing(teacher: TeacherSettings, data: DataSettings) -> Preprocessing:
    """The teacher's own normalisation; its own resolution and crop too, unless ``data.resolution`` says otherwise.

    At a resolution of the user's choice the whole image is used (crop_pct 1).
    """
    if teacher.student:
        preprocessing = Preprocessing.from_dict(load_student(teacher.student).student_config["preprocessing"])
    else:
        config = get_pretrained_cfg(teacher.model, allow_unregistered=True)
        preprocessing = Preprocessing.from_timm(
            config.to_dict() if config else {"input_size": (3, 224, 224)}, data.resolution
        )
    if data.resolution is None:
        return preprocessing
    return replace(preprocessing, resolution=data.resolution, crop_pct=1.0)


def check_classes(model: nn.Module, num_classes: int, resolution: int) -> None:
    """Raise ``UsageError`` when a teacher does not give one output for each class."""
    outputs = count(model, (3, resolution, resolution)).shape
    if outputs != (num_classes,):
        raise UsageError(
            f"a teacher gives one output for each class: the images have {num_classes} classes, {type(model).__name__} "
            f"gives {' x '.join(map(str, outputs))} outputs; give it a classifier of {num_classes}."
        )


def _new_teacher(teacher: TeacherSettings, num_classes: int) -> nn.Module:
    """The teacher with the weights that the settings name (its head freshly initialised if it is to be fitted)."""
    if teacher.student:
        return load_student(teacher.student, num_classes=num_classes if teacher.fit else None)
    return create_teacher(
        teacher.model,
        num_classes=num_classes,
        pretrained=teacher.pretrained,
        weights=Path(teacher.weights) if teacher.weights else None,
        model_kwargs=teacher.model_kwargs,
        allow_new_head=teacher.fit is not None,
        by_order=teacher.weights_by_order,
    )


def _empty_teacher(teacher: TeacherSettings, num_classes: int) -> nn.Module:
    if teacher.student:
        return load_student(teacher.student, num_classes=num_classes)
    return create_teacher(teacher.model, num_classes=num_classes, model_kwargs=teacher.model_kwargs)


TaughtJob = Job[Any, Teaching]
TaughtPlan = Plan[Any, Teaching]


def _always(settings: Any) -> bool:
    return True


@dataclass(frozen=True, kw_only=True)
class Teacher(Step[TaughtJob, TeacherBlocks]):
    """Create, load and fit the teacher; propose its blocks. Hands on the frozen teacher with this run's weights.

    ``when(settings)``: whether the run has one.
    """

    name: str = "teacher"
    when: Callable[[Any], bool] = _always
    together: ClassVar = True

    def applies(self, settings: Any) -> bool:
        return self.when(settings)

    def keys(self, job: TaughtJob) -> dict[str, Any]:
        teaching = job.given
        keys = {"data": job.key(DATA), "teacher": teaching.settings.to_dict()}
        return keys | {
            "own": teaching.own.key if teaching.own else None,
            "preprocessing": job.preprocessing.to_dict(),
        }

    def work(self, job: TaughtJob, folder: Path) -> dict[str, Any]:
        splits = job.get(DATA)
        model, log = job.given.fit(folder, splits)
        # cloned, as weights may be shared between layers
        tensors = {key: value.detach().cpu().contiguous().clone() for key, value in model.state_dict().items()}
        write_bytes(folder / WEIGHTS, save(tensors))
        result = job.given.describe(model)
        _show_blocks(result, job.progress)
        result["val_top1"] = job.materials.accuracy(model, splits.validation)
        result |= {"val_majority": majority(splits.validation), "val_images": len(splits.validation)}
        for text in doubts.of_teacher(result):
            job.progress.message(f"mind: {text}")
        return result | finish_training(folder, log)

    def load(self, job: TaughtJob) -> TeacherBlocks:
        record = job.do(self)
        model = job.given.empty(len(job.result(DATA)["classes"]))
        model.load_state_dict(load_file(record.folder / WEIGHTS))
        return TeacherBlocks(model, Partition.from_dict(record.result["partition"]))

    def stand_in(self, plan: TaughtPlan) -> StandIn[TeacherBlocks]:
        model, resolution = plan.given.empty(plan.classes), plan.given.resolution
        check_classes(model, plan.classes, resolution)
        described, seconds = plan.timed(partial(plan.given.describe, model))
        partition = Partition.from_dict(described["partition"])
        blocks = TeacherBlocks(settle(model, resolution, plan.device), partition)
        return StandIn(artefact=blocks, result=described, seconds=seconds)

    def shares(self, plan: TaughtPlan) -> dict[str, float]:
        return {self.name: 3} if plan.given.settings.fit else {}

    def probe(self, plan: TaughtPlan) -> StepForecast:
        """Describing it, fitting it where the settings ask for that, and its check on the validation images."""
        made, model, fit = plan.made(self), plan.get(self).model, plan.given.settings.fit
        tested = plan.bench.passes("evaluate-teacher", model)
        step = StepForecast(name=self.name, memory_mb=plan.bench.memory(tested), disk_mb=weights_mb(model))
        if fit is not None:

            def train(**how: Any) -> Trained:
                return train_classifier(plan.given.empty(plan.classes), **how)

            step = training_step(plan.bench, self.name, "teacher.fit", train, fit, tested, trained=model, kept=model)
        once = (testing_work(plan.bench, tested, "validation", 1), Work(fixed=made.seconds))
        return replace(step, works=(*step.works, *once))


@dataclass(frozen=True, kw_only=True)
class EvaluateTeacher(Step[TaughtJob, None]):
    """Test the teacher on the images that test the student."""

    name: str = "evaluate-teacher"
    timed: bool = True
    when: Callable[[Any], bool] = _always

    def applies(self, settings: Any) -> bool:
        return self.when(settings)

    def keys(self, job: TaughtJob) -> dict[str, Any]:
        return {"teacher": job.key(TEACHER), "data": job.key(DATA)}

    def work(self, job: TaughtJob, folder: Path) -> dict[str, Any]:
        return job.materials.test(job.get(TEACHER).model, job.get(DATA).test)

    def shares(self, plan: TaughtPlan) -> dict[str, float]:
        return {self.name: 1}

    def probe(self, plan: TaughtPlan) -> StepForecast:
        return testing_step(plan.bench, self.name, plan.bench.passes(self.name, plan.get(TEACHER).model))


TEACHER, EVALUATE_TEACHER = Teacher(), EvaluateTeacher()


def _show_blocks(teacher: dict[str, Any], progress: Progress) -> None:
    """The proposed partition, for the user to see and override."""
    progress.message(f"blocks of {teacher['name']} (partition: {teacher['partition']['policy']})")
    for row in teacher["blocks"]:
        size = f"{row['channels']} x {row['height']} x {row['width']}"
        progress.message(
            f"  {row['block']}  {row['path']:16s} {size:14s} stride {row['stride']}  {row['macs'] / 1e6:.2f} M MACs"
        )


def usual_classes(teacher: TeacherSettings | None) -> int:
    """Classes to assume where the images do not say: those of a teacher that is used as it is."""
    if teacher is None or teacher.fit is not None or teacher.student is not None:
        return USUAL_CLASSES
    config = get_pretrained_cfg(teacher.model, allow_unregistered=True)
    return config.num_classes if config else USUAL_CLASSES
