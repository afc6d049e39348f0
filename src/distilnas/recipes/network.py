"""The network that a retraining is for: a published one, an architecture of one's own or a trained student, as it is or
scaled to a target."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from distilnas.config import parse_amount
from distilnas.costing import scale_to
from distilnas.data import Preprocessing
from distilnas.errors import UsageError
from distilnas.networks import StudentNet, load_student
from distilnas.networks.checkpoints import create_published
from distilnas.networks.zoo import zoo_entry
from distilnas.recipes.own import weights_key
from distilnas.space import Architecture, Scaling

_IMAGENET_CLASSES = 1000
_CENTRE = 0.875  # the share of an ImageNet image that evaluation keeps, as in timm


@dataclass(frozen=True, kw_only=True)
class ScaleSettings:
    """Compound scaling to at most so many ``params`` or ``macs`` (exactly one), counted with ``classes`` classes.

    ``classes`` None: ImageNet's 1000, as papers count; in a progressive run as many as the images have.
    """

    params: str | int | None = None
    macs: str | int | None = None
    classes: int | None = None
    factors: Scaling = field(default_factory=Scaling)

    def __post_init__(self) -> None:
        if (self.params is None) == (self.macs is None):
            raise UsageError("give exactly one of scale.params and scale.macs.")

    def absolute(self, whole: Mapping[str, int]) -> "ScaleSettings":
        """With shares such as 100% as numbers; ``whole`` has what they refer to."""
        cost, amount = self._target
        return replace(self, **{cost: parse_amount(amount, whole=whole[cost])})

    @property
    def _target(self) -> tuple[str, str | int]:
        return ("macs", self.macs or 0) if self.params is None else ("params", self.params)

    def apply(self, architecture: Architecture, resolution: int) -> tuple[Architecture, int]:
        """The scaled architecture and its resolution."""
        cost, amount = self._target
        target = parse_amount(amount)
        sizes = {"resolution": resolution, "num_classes": self.classes or _IMAGENET_CLASSES}
        scaled = scale_to(architecture, cost=cost, target=target, scaling=self.factors, **sizes)
        return scaled.architecture, scaled.counts.resolution


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """Exactly one of ``zoo`` (a published name), ``file`` (an architecture as text or JSON) and ``student`` (a folder).

    A student brings its trained weights, and a zoo network those of a checkpoint file of its authors (``weights``):
    training then starts from them, with a new classifier where the classes differ. ``scale`` grows or shrinks the
    network, which then starts from scratch. ``resolution`` of an architecture file: what it is meant for.
    """

    zoo: str | None = None
    file: str | None = None
    student: str | None = None
    weights: str | None = None
    resolution: int = 224
    scale: ScaleSettings | None = None

    def __post_init__(self) -> None:
        if sum(x is not None for x in (self.zoo, self.file, self.student)) != 1:
            raise UsageError("give exactly one of network.zoo, network.file and network.student.")
        if self.weights and not self.zoo:
            raise UsageError("network.weights is a checkpoint of a zoo network: it needs network.zoo.")
        if self.weights and self.scale:
            raise UsageError("a scaled network starts from scratch: leave out network.weights or network.scale.")


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """``trained``: the network with weights to start from; None: from scratch."""

    architecture: Architecture
    preprocessing: Preprocessing
    trained: StudentNet | None

    @property
    def weights_key(self) -> str | None:
        """Tells weights apart; None without."""
        return None if self.trained is None else weights_key(self.trained)


def read_network(settings: NetworkSettings, resolution: int | None) -> Network:
    """The network of the settings; at a ``resolution`` of the user's choice the whole image is used (crop_pct 1).

    Raises ``UsageError`` for names, files and folders that do not fit, ``InfeasibleError`` for a target out of reach.
    """
    architecture, preprocessing, trained = _read(settings)
    if resolution is not None:
        preprocessing = replace(preprocessing, resolution=resolution, crop_pct=1.0)
    if settings.scale is not None:
        architecture, pixels = settings.scale.apply(architecture, preprocessing.resolution)
        preprocessing, trained = replace(preprocessing, resolution=pixels), None
    return Network(architecture=architecture, preprocessing=preprocessing, trained=trained)


def _read(settings: NetworkSettings) -> tuple[Architecture, Preprocessing, StudentNet | None]:
    if settings.student is not None:
        student: StudentNet = load_student(settings.student)
        return student.architecture, Preprocessing.from_dict(student.student_config["preprocessing"]), student
    if settings.file is not None:
        plain = Preprocessing(resolution=settings.resolution, crop_pct=_CENTRE)
        return Architecture.parse(_text(Path(settings.file))), plain, None
    entry = zoo_entry(settings.zoo or "")
    if not isinstance(entry.architecture, Architecture):
        raise UsageError(
            f"{entry.name} is listed for reference, it is no network of ours to train: give one with an architecture, "
            "such as dna-a, or use it as a teacher."
        )
    trained = create_published(entry.name, settings.weights) if settings.weights else None
    preprocessing = Preprocessing(resolution=entry.resolution, crop_pct=_CENTRE)
    return entry.architecture, preprocessing, trained  # type: ignore[return-value]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the architecture {path}: {error}") from error
