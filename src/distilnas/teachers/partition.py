"""Partition of a teacher into blocks: a few taps, modules whose output is the whole state of the computation there.

Block i runs from tap i - 1 (block 1: the image) to tap i; what follows the last tap is the head. Resolution alone does
not define blocks (EfficientNet's six have strides 4 2 2 1 2 1 from the image on), so a partition is a policy: proposed
automatically for any network, shown, and overridable by module paths.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import Any

from torch import nn

from distilnas.errors import UsageError, nearest
from distilnas.teachers.policies import resolution_taps, stage_taps
from distilnas.teachers.probe import Call, Probe

_POLICIES = ("auto", "stage", "resolution")


@dataclass(frozen=True, kw_only=True)
class Tap:
    """The end of a block: the (channels, height, width) map that the module at ``path`` gives out.

    ``reduction`` is the image's height over the map's, rounded.
    """

    path: str
    channels: int
    height: int
    width: int
    reduction: int

    def __post_init__(self) -> None:
        sizes = (self.channels, self.height, self.width, self.reduction)
        if not self.path or not all(isinstance(size, int) and size > 0 for size in sizes):
            raise UsageError(f"a tap has a module path and positive whole sizes, got {self}.")


@dataclass(frozen=True, kw_only=True)
class Partition:
    """Taps in order of computation, for images of ``image_shape`` (C, H, W).

    ``policy`` says how they were found: "stage", "resolution" or "explicit".
    """

    taps: tuple[Tap, ...]
    policy: str
    image_shape: tuple[int, int, int]

    def __post_init__(self) -> None:
        paths = [tap.path for tap in self.taps]
        if len(paths) < 2 or len(set(paths)) < len(paths):
            raise UsageError(f"a partition has at least two different taps, got {', '.join(paths) or 'none'}.")
        valid = ("stage", "resolution", "explicit")
        if self.policy not in valid:
            raise UsageError(f"policy {self.policy!r} of a partition is unknown: {nearest(self.policy, valid)}")
        if len(self.image_shape) != 3 or not all(isinstance(size, int) and size > 0 for size in self.image_shape):
            raise UsageError(f"image_shape is (channels, height, width), got {self.image_shape}.")

    @property
    def strides(self) -> tuple[int, ...]:
        """Reduction of each block's output relative to its input (block 1: the image), rounded, at least 1."""
        heights = [self.image_shape[1], *(tap.height for tap in self.taps)]
        return tuple(max(1, round(before / after)) for before, after in pairwise(heights))

    def to_dict(self) -> dict[str, Any]:
        """As data for JSON; ``from_dict`` reads it back."""
        return {
            "policy": self.policy,
            "image_shape": list(self.image_shape),
            "taps": [asdict(tap) for tap in self.taps],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Partition":
        """Raises ``UsageError`` for missing, unknown or invalid entries."""
        _check_keys(data, cls)
        for tap in data["taps"]:
            _check_keys(tap, Tap)
        taps = tuple(Tap(**tap) for tap in data["taps"])
        return cls(taps=taps, policy=data["policy"], image_shape=tuple(data["image_shape"]))


def propose(
    model: nn.Module, image_size: int | tuple[int, int], policy: str | Sequence[str] = "auto", *, in_channels: int = 3
) -> Partition:
    """Partition ``model`` for images of ``image_size`` pixels (or (height, width)); the model is left as it was.

    ``policy``: "stage" cuts after the network's stages, "resolution" before its resolution changes, "auto" takes the
    stages if there are at least two, else the resolutions; a sequence of module paths in order of computation is
    checked and taken. Every tap is a cut vertex: the rest of the network depends on the image through it alone. Maps
    are (B, C, H, W).

    Raises ``UsageError``: images too small for the strides, fewer than two blocks, paths that cannot be taps.
    """
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    if min(height, width, in_channels) < 1:
        raise UsageError(f"image size and channels are positive, got {height} x {width} with {in_channels} channels.")
    if isinstance(policy, str) and policy not in _POLICIES:
        raise UsageError(
            f"partition policy {policy!r} is unknown (or a list of module paths): {nearest(policy, _POLICIES)}"
        )
    if getattr(model, "output_fmt", "NCHW") != "NCHW":
        raise UsageError(
            f"a teacher's features are (B, C, H, W) maps, but {type(model).__name__} works on {model.output_fmt}: "
            "choose a convolutional teacher."
        )
    probe = Probe(model, (in_channels, height, width))
    used, calls = _choose(model, probe, policy)
    _check_blocks(model, probe, calls, used)
    taps = tuple(_tap(call, height) for call in calls)
    return Partition(taps=taps, policy=used, image_shape=probe.image_shape)


def _choose(model: nn.Module, probe: Probe, policy: str | Sequence[str]) -> tuple[str, list[Call]]:
    if not isinstance(policy, str):
        return "explicit", [_checked(model, probe, path) for path in policy]
    if policy == "resolution":
        return policy, resolution_taps(probe)
    stages = stage_taps(probe)
    if policy == "stage" or len(stages) >= 2:
        return "stage", stages
    return "resolution", resolution_taps(probe)


def _checked(model: nn.Module, probe: Probe, path: str) -> Call:
    names = {name for name, _ in model.named_modules() if name}
    if path not in names:
        raise UsageError(f"tap {path!r} is no module of {type(model).__name__}: {nearest(path, names)}")
    call = probe.calls.get(path)
    if call is None or call.shape is None:
        raise UsageError(
            f"a tap must be called once in a forward and give one (B, C, H, W) map; {path!r} does not. "
            "Choose a module around or inside it."
        )
    if not probe.is_cut(path):
        raise UsageError(
            f"everything the teacher gives out must pass through a tap; something passes by {path!r} (a shortcut or a "
            "parallel branch). Choose the module around it."
        )
    return call


def _check_blocks(model: nn.Module, probe: Probe, calls: list[Call], policy: str) -> None:
    if len(calls) < 2:
        found = ", ".join(call.path for call in calls) or "no tap"
        raise UsageError(
            f"a partition needs at least two blocks, but policy {policy!r} finds {len(calls)} in "
            f"{type(model).__name__} ({found}). Taps are modules with (B, C, H, W) maps (token sequences are "
            "not supported): choose another policy, list module paths, or choose another teacher."
        )
    orders = [call.order for call in calls]
    if any(before >= after for before, after in pairwise(orders)):
        ordered = sorted({call.order: call.path for call in calls}.items())
        raise UsageError(
            "taps must be different and in the order in which the teacher computes them, got "
            f"{', '.join(call.path for call in calls)}; that order is {', '.join(path for _, path in ordered)}."
        )
    if starved := probe.collapse(orders[-1]):
        size = " x ".join(map(str, probe.image_shape[1:]))
        raise UsageError(
            f"every stride of the teacher must have something to reduce, but with images of {size} pixels layer "
            f"{starved!r} gets a map smaller than its stride: take larger images."
        )


def _tap(call: Call, image_height: int) -> Tap:
    assert call.shape is not None
    channels, height, width = call.shape
    reduction = max(1, round(image_height / height))
    return Tap(path=call.path, channels=channels, height=height, width=width, reduction=reduction)


def _check_keys(data: Any, record: type) -> None:
    names = {field.name for field in fields(record)}
    if not isinstance(data, Mapping) or set(data) != names:
        given = ", ".join(sorted(map(str, data))) if isinstance(data, Mapping) else type(data).__name__
        raise UsageError(f"a stored {record.__name__.lower()} has the entries {', '.join(sorted(names))}; got {given}.")
