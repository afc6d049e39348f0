"""The network that a retraining is for: a published one, an architecture of one's own or a trained student, as it is or
scaled to a target."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from distilnas.config import parse_amount
from distilnas.costing import scale_to
from distilnas.data import Preprocessing
from distilnas.errors import UsageError
from distilnas.networks import ChainNet, DartsNet, StudentNet, load_student
from distilnas.networks.checkpoints import create_published
from distilnas.networks.zoo import zoo_entry
from distilnas.recipes.own import weights_key
from distilnas.space import Architecture, Scaling
from distilnas.space.darts import AnyArchitecture, DartsArchitecture, parse_architecture

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

    def apply(self, architecture: AnyArchitecture, resolution: int) -> tuple[Architecture, int]:
        """The scaled architecture and its resolution; raises ``UsageError`` for a network of the DARTS kind."""
        if isinstance(architecture, DartsArchitecture):
            raise UsageError(
                "compound scaling is for networks of the DNA kind: leave out scale, and set width and, where all cells "
                "of a kind are alike, num_cells of the network."
            )
        cost, amount = self._target
        target = parse_amount(amount)
        sizes = {"resolution": resolution, "num_classes": self.classes or _IMAGENET_CLASSES}
        scaled = scale_to(architecture, cost=cost, target=target, scaling=self.factors, **sizes)
        return scaled.architecture, scaled.counts.resolution


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """Exactly one of ``zoo`` (a published name), ``file`` (an architecture as text or JSON) and ``student`` (a folder).

    ``variant`` of a zoo network that was published for several data sets; None: the first. ``width`` and ``num_cells``
    of a network of the DARTS kind in place of its own, from scratch.
    A student brings its trained weights, and a zoo network those of a checkpoint file of its authors (``weights``):
    training then starts from them, with a new classifier where the classes differ. ``scale`` grows or shrinks the
    network, which then starts from scratch. ``resolution`` of an architecture file: what it is meant for.
    """

    zoo: str | None = None
    variant: str | None = None
    file: str | None = None
    student: str | None = None
    weights: str | None = None
    resolution: int = 224
    width: int | None = None
    num_cells: int | None = None
    scale: ScaleSettings | None = None

    def __post_init__(self) -> None:
        if sum(x is not None for x in (self.zoo, self.file, self.student)) != 1:
            raise UsageError("give exactly one of network.zoo, network.file and network.student.")
        if (self.weights or self.variant) and not self.zoo:
            raise UsageError(
                "network.weights is a checkpoint and network.variant a size of a zoo network: it needs network.zoo."
            )
        if self.weights and self.scale:
            raise UsageError("a scaled network starts from scratch: leave out network.weights or network.scale.")


@dataclass(frozen=True, kw_only=True, eq=False)
class GivenNetwork:
    """``trained``: the network with weights to start from; None: from scratch."""

    architecture: AnyArchitecture
    preprocessing: Preprocessing
    trained: StudentNet | DartsNet | None

    @property
    def weights_key(self) -> str | None:
        """Tells weights apart; None without."""
        return None if self.trained is None else weights_key(self.trained)


def read_network(settings: NetworkSettings, resolution: int | None) -> GivenNetwork:
    """The network of the settings; at a ``resolution`` of the user's choice the whole image is used (crop_pct 1).

    Raises ``UsageError`` for names, files and folders that do not fit, ``InfeasibleError`` for a target out of reach.
    """
    architecture, preprocessing, trained = _read(settings)
    if resolution is not None:
        preprocessing = replace(preprocessing, resolution=resolution, crop_pct=1.0)
    if settings.width is not None or settings.num_cells is not None:
        architecture, trained = _resized(architecture, settings.width, settings.num_cells), None
    if settings.scale is not None:
        architecture, pixels = settings.scale.apply(architecture, preprocessing.resolution)
        preprocessing, trained = replace(preprocessing, resolution=pixels), None
    return GivenNetwork(architecture=architecture, preprocessing=preprocessing, trained=trained)


def _resized(architecture: AnyArchitecture, width: int | None, num_cells: int | None) -> DartsArchitecture:
    if not isinstance(architecture, DartsArchitecture):
        raise UsageError(
            "network.width and network.num_cells are sizes of a network of the DARTS kind, this is none: leave them "
            "out, or scale it (network.scale)."
        )
    return replace(architecture, width=width or architecture.width, num_cells=num_cells or architecture.num_cells)


def _read(settings: NetworkSettings) -> tuple[AnyArchitecture, Preprocessing, StudentNet | DartsNet | None]:
    if settings.student is not None:
        student: StudentNet | DartsNet | ChainNet = load_student(settings.student)
        if isinstance(student, ChainNet):
            raise UsageError(
                f"network.student is a network of our ops, {settings.student} is one of its parent's parts: it can "
                "teach (teacher.student), not be drawn anew."
            )
        return student.architecture, Preprocessing.from_dict(student.student_config["preprocessing"]), student
    if settings.file is not None:
        plain = Preprocessing(resolution=settings.resolution, crop_pct=_CENTRE)
        return parse_architecture(_text(Path(settings.file))), plain, None
    entry = zoo_entry(settings.zoo or "", settings.variant)
    if entry.architecture is None:
        raise UsageError(
            f"{entry.name} is listed for reference, it is no network of ours to train: give one with an architecture, "
            "such as dna-a, or use it as a teacher."
        )
    trained = create_published(entry.name, settings.weights, variant=settings.variant) if settings.weights else None
    preprocessing = Preprocessing(resolution=entry.resolution, crop_pct=_CENTRE)
    return entry.architecture, preprocessing, trained  # type: ignore[return-value]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the architecture {path}: {error}") from error
