"""Records of the steps that recipes share, and of DNA's. Entries of an artefact that a record has no field for are
ignored when it is read.

Accuracies are top-1 in percent, MACs are for one image at the run's resolution, times are in seconds.
"""

from dataclasses import dataclass, field
from typing import Any

from pydantic import model_validator

from distilnas.tables.measures import Number, costs_in


@dataclass(frozen=True, kw_only=True)
class Counted:
    """Artefacts name a network's costs beside its other values; here they are ``costs``, those that are known."""

    costs: dict[str, Number] = field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, data: Any) -> Any:
        known = (
            {name: value for name, value in costs_in(data).items() if value is not None}
            if isinstance(data, dict)
            else {}
        )
        return data | {"costs": known} if known else data


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How an image becomes the network's input: square ``resolution``, per-channel ``mean`` and ``std``; ``own``: by a
    transform of the user's, which this describes."""

    resolution: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    crop_pct: float
    own: str | None = None


@dataclass(frozen=True, kw_only=True)
class Data:
    """The images: ``counts`` per part (train, validation, rating, test), ``skipped`` files that cannot be decoded."""

    source: str
    path: str | None = None
    fingerprint: str
    classes: tuple[str, ...]
    counts: dict[str, int]
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TeacherBlock:
    """A teacher block ends at module ``path``, where features are (channels, height, width)."""

    path: str
    channels: int
    height: int
    width: int
    reduction: int
    macs: int


@dataclass(frozen=True, kw_only=True)
class Partition:
    """How the teacher was cut into blocks."""

    policy: str


@dataclass(frozen=True, kw_only=True)
class Teacher(Counted):
    """The teacher as its step left it; ``val_top1`` on the validation images."""

    name: str
    val_top1: float | None = None
    weights: str | None = None
    preprocessing: Preprocessing
    partition: Partition
    blocks: tuple[TeacherBlock, ...]

    @property
    def measured(self) -> "Measured":
        """Its accuracy and size, as far as its step knows them."""
        return Measured(name=self.name, top1=self.val_top1, costs=self.costs)


@dataclass(frozen=True, kw_only=True)
class TrainedNetwork:
    """The network of a retraining; ``pretrained``: training starts from weights that it brings.

    ``preprocessing`` is known once it is trained.
    """

    architecture: str
    resolution: int
    pretrained: bool = False
    preprocessing: Preprocessing | None = None


@dataclass(frozen=True, kw_only=True)
class DistillLoss:
    """What distillation minimised: a distance to the teacher's feature and, where it has a weight, the labels' loss."""

    loss: str
    label_loss: float = 0.0


@dataclass(frozen=True, kw_only=True)
class DistillInputs:
    """Settings that the distillation ran with."""

    distill: DistillLoss | None = None


@dataclass(frozen=True, kw_only=True)
class History:
    """A training's log: one mapping per epoch."""

    epochs: tuple[dict[str, float | None], ...]

    def curve(self, key: str) -> tuple[list[int], list[float]]:
        """Epochs counted from 1 and the values of ``key`` where it was logged."""
        points = [(n, float(value)) for n, epoch in enumerate(self.epochs, 1) if (value := epoch.get(key)) is not None]
        return [n for n, _ in points], [value for _, value in points]


@dataclass(frozen=True, kw_only=True)
class Measured(Counted):
    """Accuracy and size of a network; None is not measured yet."""

    name: str = ""
    hash: str = ""
    top1: float | None = None
    top5: float | None = None
    architecture: str | None = None


@dataclass(frozen=True, kw_only=True)
class OnnxCheck:
    """Largest difference of logits between the exported network and the trained one."""

    max_abs_difference: float
    checked_images: int


@dataclass(frozen=True, kw_only=True)
class Summary:
    """``summary.json`` of a finished run, apart from what the steps' own artefacts say."""

    run: str
    recipe: str
    teacher: Measured | None = None
    student: Measured
    random: tuple[Measured, ...] = ()
    warnings: tuple[str, ...] = ()
    artefacts: dict[str, str | None] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    onnx: OnnxCheck | None = None
