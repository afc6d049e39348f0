"""All settings of a DNA run; each step's own settings lie beside the step."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, ClassVar, Literal

from distilnas.data.decoding import MAX_PIXELS
from distilnas.errors import UsageError
from distilnas.export import OPSETS
from distilnas.methods.dna import DistillSettings, RateSettings
from distilnas.networks.files import student_key
from distilnas.recipes.budgets import BudgetSettings, check_budgets
from distilnas.space import FittedSpace
from distilnas.training import ClassifierSettings

OWN, UNLABELLED = "own", "unlabelled"
_MOST_RANDOM = 1_000
IDENTITY = ("seed", "data", "teacher", "space", "distill", "rate")


_KEYS_OF_SOURCES = {
    "test_path": ("wds", "tar"),
    "image_key": ("hf",),
    "label_key": ("hf", "wds", "cifar100"),
    "train_split": ("hf",),
    "test_split": ("hf",),
    "images": ("synthetic",),
    "classes": ("synthetic",),
}


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Which images; the guide's page on data shows a line for each ``source``. ``digits`` comes with scikit-learn,
    ``synthetic`` is made up (``images`` of them, default 1000, in ``classes``, default 10); ``own`` are handed over in
    Python, and ``path`` tells them from others; ``unlabelled`` are a folder without classes, which the teacher names
    (recipe ``shrink``); the others need ``path``.

    Without test images of the source's own, or in ``test_path`` (wds, tar), ``test_fraction`` is split off. Columns or
    entries (``image_key``, ``label_key``) and splits (``train_split``, ``test_split``) have names where the source has.
    ``layout`` classes: all folders are classes, even where they look like splits. An image of more than ``max_pixels``
    counts as damaged. ``check``: which images are decoded when they are listed, to leave out damaged ones
    (``max_bad_share`` at most).
    ``validation``: number (or share) of training images that only monitor. ``train_images``: a stratified subset of so
    many (None: all). ``resolution`` None is the teacher's own. ``cache_mb``: decode once and keep in memory up to this
    size.
    """

    source: Literal["digits", "folder", "cifar10", "cifar100", "hf", "wds", "tar", "synthetic", "own", "unlabelled"] = (
        "folder"
    )
    path: str | None = None
    test_path: str | None = None
    image_key: str | None = None
    label_key: str | None = None
    train_split: str | None = None
    test_split: str | None = None
    images: int | None = None
    classes: int | None = None
    resolution: int | None = None
    test_fraction: float = 0.2
    validation: int | float = 0.05
    train_images: int | None = None
    check: Literal["auto", "all", "sample", "none"] = "auto"
    max_bad_share: float = 0.05
    cache_mb: float = 2048.0
    max_pixels: int = field(default=MAX_PIXELS, metadata={"recorded": "changed"})
    layout: Literal["auto", "classes"] = field(default="auto", metadata={"recorded": "changed"})

    def __post_init__(self) -> None:
        if self.source not in ("digits", "synthetic") and not self.path:
            raise UsageError(
                f"data.path is missing: data.source={self.source} needs it, e.g. data.path=photos; data.source=digits "
                "and data.source=synthetic do without."
            )
        for key, sources in _KEYS_OF_SOURCES.items():
            if getattr(self, key) is not None and self.source not in sources:
                raise UsageError(
                    f"data.{key} belongs to data.source={' or '.join(sources)}, but is given with {self.source}. "
                    "Leave it out."
                )
        if self.max_pixels < 1:
            raise UsageError(f"data.max_pixels is a number of pixels, at least 1, got {self.max_pixels}.")
        if self.validation <= 0:
            raise UsageError(f"data.validation must be above 0 (a number of images or a share), got {self.validation}.")


@dataclass(frozen=True, kw_only=True)
class TeacherSettings:
    """Which teacher: any timm model name; weights from the hub (``pretrained``) or a local file (``weights``); ``fit``
    trains or fine-tunes it on the images. ``student``: a trained student's folder instead of a timm model.
    ``weights_by_order`` takes a file's values in order, for foreign key names. ``partition``: auto, stage, depth,
    resolution, or a list of module paths. ``model`` own: the trained module handed to ``run_dna``; only ``partition``
    and ``fit`` apply to it.
    """

    model: str = "efficientnet_b0"
    student: str | None = None
    pretrained: bool = False
    weights: str | None = None
    weights_by_order: bool = False
    model_kwargs: dict[str, Any] = field(default_factory=dict)
    partition: str | tuple[str, ...] = "auto"
    fit: ClassifierSettings | None = None

    def __post_init__(self) -> None:
        if self.pretrained and self.weights:
            raise UsageError(
                "teacher.pretrained and teacher.weights exclude each other: the hub's weights or a file's."
            )
        if self.model == OWN and (self.pretrained or self.weights or self.model_kwargs):
            raise UsageError(
                f"teacher.model={OWN} is your own trained module: leave out teacher.pretrained, teacher.weights and "
                "teacher.model_kwargs."
            )
        if self.student and (self.pretrained or self.weights or self.model_kwargs or self.model == OWN):
            raise UsageError(
                "teacher.student is a trained network of ours: leave out teacher.pretrained, teacher.weights, "
                f"teacher.model_kwargs and teacher.model={OWN}."
            )
        if not (self.pretrained or self.weights or self.fit or self.student or self.model == OWN):
            raise UsageError(
                "the teacher has no weights: set teacher.pretrained=true (hub), teacher.weights=FILE, "
                "teacher.student=FOLDER, or teacher.fit (trained on your images)."
            )

    def to_dict(self) -> dict[str, Any]:
        """JSON values that runs and steps are known by: a student by its weights, wherever its folder lies."""
        data = plain(self)
        return data if self.student is None else data | {"student": student_key(self.student)}


@dataclass(frozen=True, kw_only=True)
class SpaceSettings:
    """Which search space: a shipped ``preset``, a ``file``, or rules that fit one to the teacher (``fitted``).

    ``split``: layers per block, e.g. [1, 1, 1, 2, 1, 2], to cut a space of one cell a block finer, for a teacher with
    more blocks. ``depths``: whether layers that may be left out (``id``) share weights with deeper paths or every
    pattern of them is a cell of its own (``separate``). ``cells``: ``widest`` keeps one cell of each block.
    """

    preset: str | None = None
    file: str | None = None
    fitted: FittedSpace | None = None
    split: tuple[int, ...] | None = None
    depths: Literal["shared", "separate"] = "shared"
    cells: Literal["all", "widest"] = "all"

    def __post_init__(self) -> None:
        if sum(x is not None for x in (self.preset, self.file, self.fitted)) != 1:
            raise UsageError("give exactly one of space.preset, space.file and space.fitted.")


@dataclass(frozen=True, kw_only=True)
class SolveSettings(BudgetSettings):
    """Short forms of budgets, and ``alternatives``: how many k-best and how many diverse ones to list."""

    alternatives: int = 3


@dataclass(frozen=True, kw_only=True)
class FoundSettings(ClassifierSettings):
    """How found networks are trained. ``teacher``: its answers are learnt beside the labels; the paper does without."""

    teacher: bool = field(default=False, metadata={"recorded": "changed"})


@dataclass(frozen=True, kw_only=True)
class StudentSettings(FoundSettings):
    """How DNA's student is trained. ``start``: from ``scratch`` (the paper), or from the ``library``'s weights, those
    that distillation gave its blocks."""

    start: Literal["scratch", "library"] = field(default="scratch", metadata={"recorded": "changed"})


@dataclass(frozen=True, kw_only=True)
class RandomSettings:
    """``number`` random networks of the same budget, retrained like the student, to compare with: drawn uniformly among
    those that keep the limits and have at least ``min_share`` of the solution's MACs."""

    number: int = 0
    min_share: float = 0.9

    def __post_init__(self) -> None:
        if not 0 <= self.number <= _MOST_RANDOM or not 0 <= self.min_share <= 1:
            raise UsageError(
                f"random.number must lie between 0 and {_MOST_RANDOM} and random.min_share between 0 and 1, got "
                f"{self.number} and {self.min_share}."
            )


@dataclass(frozen=True, kw_only=True)
class RuntimeSettings:
    """Device (``auto cpu cuda``), precision as Lightning Fabric names it, loader processes, torch threads
    (None: torch's own). ``log``: where trainings are also recorded, in ``log/`` of the run folder."""

    accelerator: str = "auto"
    precision: str = "32-true"
    workers: int = 0
    threads: int | None = None
    checkpoint_seconds: float | None = 30.0
    log: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] = field(
        default=(), metadata={"recorded": "where it is given"}
    )

    def __post_init__(self) -> None:
        cores = os.cpu_count() or 1
        for name, value, least in (("workers", self.workers, 0), ("threads", self.threads, 1)):
            most = max(64, 4 * cores)
            if value is not None and not least <= value <= most:
                raise UsageError(
                    f"runtime.{name} must lie between {least} and {most} on this machine of {cores} cores, got {value}."
                )
        if self.checkpoint_seconds is not None and self.checkpoint_seconds < 0:
            raise UsageError(f"runtime.checkpoint_seconds must not be negative, got {self.checkpoint_seconds}.")


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """``opset``: of the ONNX file; a lower one is for runtimes that do not know the newest operators. ``int8``: also
    write it in 8 bits, calibrated on training images, and measure both. ``program``: also write a program that plain
    PyTorch loads."""

    opset: int = field(default=18, metadata={"recorded": "changed"})
    int8: bool = field(default=False, metadata={"recorded": "changed"})
    program: bool = field(default=True, metadata={"recorded": "changed"})

    def __post_init__(self) -> None:
        if self.opset not in OPSETS:
            raise UsageError(f"export.opset must be from {OPSETS[0]} to {OPSETS[-1]}, got {self.opset}.")


def check_seeds(seeds: Sequence[int]) -> None:
    """Raise ``UsageError`` unless there is a seed, none twice and none negative."""
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise UsageError(f"seeds must be distinct, at least one and not negative, got {list(seeds)}.")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A DNA run from teacher to student.

    ``budget``: by measure (macs, params, bytes) what the student may cost, 40% or 1M..2M or a mapping of min and max;
    ``solve`` has short forms."""

    recipe: Literal["dna"] = "dna"
    seed: int = 0
    data: DataSettings
    teacher: TeacherSettings
    space: SpaceSettings
    distill: DistillSettings = field(default_factory=DistillSettings)
    rate: RateSettings = field(default_factory=RateSettings)
    budget: dict[str, Any] | None = field(default=None, metadata={"recorded": "where it is given"})
    solve: SolveSettings = field(default_factory=SolveSettings)
    retrain: StudentSettings = field(default_factory=StudentSettings)
    export: ExportSettings = field(default_factory=ExportSettings)
    random: RandomSettings = field(default_factory=RandomSettings)
    runtime: RuntimeSettings = field(default_factory=RuntimeSettings)
    auxiliary_weight: ClassVar = 0.0  # of DARTS networks, which are not found here

    def __post_init__(self) -> None:
        check_budgets(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values (tuples become lists)."""
        return plain(self)

    def identity(self) -> dict[str, Any]:
        """The settings that a run folder is bound to; the others may change and only repeat what depends on them."""
        data = self.to_dict() | {"teacher": self.teacher.to_dict()}
        return {key: data[key] for key in IDENTITY}


def plain(value: Any) -> Any:
    """JSON values of a record or its dictionary: tuples become lists.

    Left out are fields that say in their metadata that they are recorded where they are not the default: they are newer
    than runs which must keep their keys.
    """
    if is_dataclass(value):
        shown = (f for f in fields(value) if "recorded" not in f.metadata or getattr(value, f.name) != f.default)
        return {f.name: plain(getattr(value, f.name)) for f in shown}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value
