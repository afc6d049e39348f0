"""Partition of a teacher into blocks: a few taps, modules whose output is the whole state of the computation there.

Block i runs from tap i - 1 (block 1: the image) to tap i; what follows the last tap is the head. Resolution alone does
not define blocks (EfficientNet's six have strides 4 2 2 1 2 1 from the image on), so a partition is a policy: proposed
automatically for any network, shown, and overridable by module paths.
"""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from distilnas.errors import UsageError, nearest
from distilnas.networks.layouts import Layout
from distilnas.networks.parent import Border
from distilnas.teachers.policies import depth_taps, equal_run, resolution_taps, stage_taps
from distilnas.teachers.probe import Call, Probe

_POLICIES = {"stage": stage_taps, "depth": depth_taps, "resolution": resolution_taps}
_SCRAMBLED = {"Hiera"}  # timm's; read as a grid, its tokens would mix places up, and no shape tells
_SEE = "distilnas.teachers.possible_taps lists the choices"


@dataclass(frozen=True, kw_only=True)
class Tap:
    """The end of a block: the (channels, height, width) map that the module at ``path`` gives out in ``layout``.

    ``reduction`` is the image's height over the map's, rounded. Of tokens, height and width are those of their grid.
    """

    path: str
    channels: int
    height: int
    width: int
    reduction: int
    layout: Layout = field(default_factory=Layout)

    def __post_init__(self) -> None:
        sizes = (self.channels, self.height, self.width, self.reduction)
        if not self.path or not all(isinstance(size, int) and size > 0 for size in sizes):
            raise UsageError(f"a tap has a module path and positive whole sizes, got {self}.")

    @property
    def grid(self) -> tuple[int, int]:
        """(height, width)"""
        return self.height, self.width

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Tap":
        """Reads ``asdict``'s form; without an entry layout (as files of version 0.1 are) it is (B, C, H, W)."""
        _check_keys(data, cls)
        layout = data.get("layout", {})
        _check_keys(layout, Layout)
        return cls(**{**data, "layout": Layout(**layout)})


@dataclass(frozen=True, kw_only=True)
class Partition:
    """Taps in order of computation, for images of ``image_shape`` (C, H, W).

    ``policy`` says how they were found: "stage", "depth", "resolution" or "explicit".
    """

    taps: tuple[Tap, ...]
    policy: str
    image_shape: tuple[int, int, int]

    def __post_init__(self) -> None:
        paths = [tap.path for tap in self.taps]
        if len(paths) < 2 or len(set(paths)) < len(paths):
            raise UsageError(f"a partition has at least two different taps, got {', '.join(paths) or 'none'}.")
        valid = (*_POLICIES, "explicit")
        if self.policy not in valid:
            raise UsageError(f"policy {self.policy!r} of a partition is unknown: {nearest(self.policy, valid)}")
        if len(self.image_shape) != 3 or not all(isinstance(size, int) and size > 0 for size in self.image_shape):
            raise UsageError(f"image_shape is (channels, height, width), got {self.image_shape}.")

    @property
    def strides(self) -> tuple[int, ...]:
        """Reduction of each block's output relative to its input (block 1: the image), rounded, at least 1."""
        heights = [self.image_shape[1], *(tap.height for tap in self.taps)]
        return tuple(max(1, round(before / after)) for before, after in pairwise(heights))

    @property
    def borders(self) -> tuple[Border, ...]:
        """Where the parts of a student meet that is made of this teacher's parts."""
        return tuple(
            Border(path=tap.path, channels=tap.channels, height=tap.height, width=tap.width, layout=tap.layout)
            for tap in self.taps
        )

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
        taps = tuple(map(Tap.from_dict, data["taps"]))
        return cls(taps=taps, policy=data["policy"], image_shape=tuple(data["image_shape"]))


def propose(
    model: nn.Module, image_size: int | tuple[int, int], policy: str | Sequence[str] = "auto", *, in_channels: int = 3
) -> Partition:
    """Partition ``model`` for images of ``image_size`` pixels (or (height, width)); the model is left as it was.

    ``policy``: "stage" cuts after the network's stages, "depth" cuts a run of equal units (a ViT's blocks) into four
    groups, "resolution" cuts before the resolution changes. "auto" takes the stages if there are at least two; else the
    depth if that run holds half of the weighted layers; else the resolutions. A sequence of module paths in order of
    computation is checked and taken. Every tap is a cut vertex: the rest of the network depends on the image through it
    alone. Its output is (B, C, H, W), (B, H, W, C), or tokens on a grid (``Layout``).

    The network is not computed but for its shapes (see ``probe``), so that it may be large or on the meta device.

    Raises ``UsageError``: images too small for the strides, fewer than two blocks, blocks that end before half of the
    network (unless listed), paths that cannot be taps, a network whose tokens are not in the order of the image.
    """
    if isinstance(policy, str) and policy not in ("auto", *_POLICIES):
        raise UsageError(
            f"partition policy {policy!r} is unknown (or a list of module paths): "
            f"{nearest(policy, ('auto', *_POLICIES))}"
        )
    probe = look_at(model, image_size, in_channels)
    used, calls = _choose(model, probe, policy)
    return partition_at(model, probe, calls, used)


def possible_taps(model: nn.Module, image_size: int | tuple[int, int], *, in_channels: int = 3) -> tuple[Tap, ...]:
    """All modules of which ``propose`` accepts a list, in order of computation (modules around each other included).

    Raises ``UsageError`` as ``propose`` where the network itself is the reason.
    """
    probe = look_at(model, image_size, in_channels)
    return tuple(_tap(call, probe) for call in probe.calls.values() if call.path and call.cut and call.shape)


def look_at(model: nn.Module, image_size: int | tuple[int, int], in_channels: int) -> Probe:
    """Probe of a ``model`` that may be a teacher; raises ``UsageError`` as ``propose`` where it may not."""
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    if min(height, width, in_channels) < 1:
        raise UsageError(f"image size and channels are positive, got {height} x {width} with {in_channels} channels.")
    if scrambled := {type(module).__name__ for module in model.modules()} & _SCRAMBLED:
        raise UsageError(
            f"a teacher's tokens must lie row by row on the image's grid, but {', '.join(scrambled)} keeps them window "
            "by window: choose another teacher."
        )
    if any(isinstance(module, torch.jit.ScriptModule) for module in model.modules()):
        raise UsageError(
            "a teacher's modules must be open to hooks, TorchScript's are not: give the module it came from."
        )
    return Probe(model, (in_channels, height, width))


def partition_at(model: nn.Module, probe: Probe, calls: list[Call], policy: str) -> Partition:
    """Partition of ``model`` at ``calls``; raises ``UsageError`` as ``propose`` for blocks that cannot be used."""
    _check_blocks(model, probe, calls, policy)
    return Partition(taps=tuple(_tap(call, probe) for call in calls), policy=policy, image_shape=probe.image_shape)


def _choose(model: nn.Module, probe: Probe, policy: str | Sequence[str]) -> tuple[str, list[Call]]:
    if not isinstance(policy, str):
        return "explicit", [_checked(model, probe, path) for path in policy]
    if policy == "auto":
        policy = _automatic(probe)
    return policy, _POLICIES[policy](probe)


def _automatic(probe: Probe) -> str:
    if len(stage_taps(probe)) >= 2:
        return "stage"
    run = equal_run(probe)
    isotropic = len(run) >= 2 and 2 * sum(unit.weighted for unit in run) >= probe.calls[""].weighted
    return "depth" if isotropic else "resolution"


def _checked(model: nn.Module, probe: Probe, path: str) -> Call:
    names = {name for name, _ in model.named_modules() if name}
    if path not in names:
        raise UsageError(f"tap {path!r} is no module of {type(model).__name__}: {nearest(path, names)}")
    call = probe.calls.get(path)
    if call is None or call.shape is None:
        raise UsageError(
            "a tap must be called once in a forward and give one feature map, (B, C, H, W), (B, H, W, C) or tokens on "
            f"a grid; {path!r} does not. Choose a module around or inside it ({_SEE})."
        )
    if not call.cut:
        raise UsageError(
            f"everything the teacher gives out must pass through a tap; something passes by {path!r} (a shortcut or a "
            f"parallel branch). Choose the module around it ({_SEE})."
        )
    return call


def _check_blocks(model: nn.Module, probe: Probe, calls: list[Call], policy: str) -> None:
    name = type(model).__name__
    if len(calls) < 2:
        found = ", ".join(call.path for call in calls) or "no tap"
        raise UsageError(
            f"a partition needs at least two blocks, but policy {policy!r} finds {len(calls)} in {name} ({found}): "
            "elsewhere its modules give several tensors or something passes by them. Choose another policy, list "
            f"module paths in teacher.partition ({_SEE}), or choose another teacher."
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
    before, after = probe.weighted_between(-1, orders[-1]), probe.weighted_between(orders[-1], probe.calls[""].order)
    if policy != "explicit" and before < after:
        raise UsageError(
            f"blocks must cover at least half of the teacher, but in {name} policy {policy!r} finds the last cut at "
            f"{calls[-1].path!r}, after {before} of {before + after} weighted layers: later modules give several "
            f"tensors or something passes by them. List module paths in teacher.partition ({_SEE}) if these blocks "
            "are meant, or choose another teacher."
        )


def _tap(call: Call, probe: Probe) -> Tap:
    assert call.shape is not None
    channels, height, width = call.shape
    reduction = max(1, round(probe.image_shape[1] / height))
    return Tap(path=call.path, channels=channels, height=height, width=width, reduction=reduction, layout=call.layout)


def _check_keys(data: Any, record: type) -> None:
    known = {entry.name: entry.default is MISSING and entry.default_factory is MISSING for entry in fields(record)}
    needed = {name for name, required in known.items() if required}
    if not isinstance(data, Mapping) or not needed <= set(data) <= set(known):
        given = ", ".join(sorted(map(str, data))) if isinstance(data, Mapping) else type(data).__name__
        raise UsageError(f"a stored {record.__name__.lower()} has the entries {', '.join(sorted(known))}; got {given}.")
