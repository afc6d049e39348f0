"""A fine partition, for making a network smaller: its stem, short groups of its units, what follows them, and the head.

A unit is the finest composite module that is the whole state of the computation (a residual block, a transformer
block), or a layer that stands alone in a row (VGG's convolutions).
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from torch import nn

from distilnas.errors import UsageError
from distilnas.networks.cut import between, trace
from distilnas.teachers.partition import Partition, look_at, partition_at
from distilnas.teachers.policies import inner_calls
from distilnas.teachers.probe import Call, Probe
from distilnas.teachers.shortcuts import removable_units

_log = logging.getLogger(__name__)

MOST_UNITS = 4  # in a block
Role = Literal["stem", "body", "tail"]


@dataclass(frozen=True, kw_only=True)
class Unit:
    """The module at ``path``. ``removable``: it adds something to its input, so that it can be left out."""

    path: str
    removable: bool


@dataclass(frozen=True, kw_only=True)
class UnitBlock:
    """A block's units in order of computation; ``role``: the stem, a group of the body, or the tail after the last."""

    role: Role
    units: tuple[Unit, ...]


_Group = tuple[Role, list[Call]]


@dataclass(frozen=True, kw_only=True)
class Units:
    """A ``partition`` and what each of its blocks consists of."""

    partition: Partition
    blocks: tuple[UnitBlock, ...]


def propose_units(
    model: nn.Module, image_size: int | tuple[int, int], *, in_channels: int = 3, most: int = MOST_UNITS
) -> Units:
    """Partition ``model`` into stem, groups of at most ``most`` units of equal shape, and tail; it is left as it was.

    The stem is what comes before the second composite unit (of a plain stack: before its second layer); the tail what
    weighted layers stand alone after the last one, such as an EfficientNet's ``conv_head``. A group's units give maps
    of one shape; groups of one shape are as equal in length as can be. Taps behind which more is needed than they give
    out, or around which the network is no fixed graph, are left out, so that every block can be cut out
    (``TeacherBlocks.block``).

    Raises ``UsageError`` as ``propose``, and when fewer than two taps are left.
    """
    probe = look_at(model, image_size, in_channels)
    units = _units(probe)
    taps = _usable_taps(model, probe, _groups(units, most))
    partition = partition_at(model, probe, [tap for tap, _ in taps], "explicit")
    removable = removable_units(model, [unit.path for unit in units if unit.composite], probe.image_shape)
    blocks: list[UnitBlock] = []
    before = -1
    for tap, role in taps:
        inside = [unit.path for unit in units if before < unit.order <= tap.order]
        blocks.append(
            UnitBlock(role=role, units=tuple(Unit(path=path, removable=path in removable) for path in inside))
        )
        before = tap.order
    return Units(partition=partition, blocks=tuple(blocks))


def _units(probe: Probe) -> list[Call]:
    """Finest composite cut vertices, and weighted layers outside them that are cut vertices, in order."""
    children = inner_calls(probe)

    def inside(call: Call) -> list[Call]:
        inner = [unit for child in children[call.path] for unit in inside(child)]
        whole = call.cut and call.path and call.shape is not None
        if whole and call.leaf and call.weighted:
            return [call]
        if whole and call.composite and not _holds_units(inner):
            return [call]
        return inner

    return sorted(inside(probe.calls[""]), key=lambda call: call.order)


def _holds_units(inner: list[Call]) -> bool:
    """Whether a module is more than one unit: a composite one is inside, or layers of more than two resolutions."""
    return any(call.composite for call in inner) or len({call.resolution for call in inner}) > 2


def _groups(units: list[Call], most: int) -> list[_Group]:
    """Stem, groups and tail, each a list of units in order."""
    composite = [unit for unit in units if unit.composite]
    plain = 2 * sum(unit.weighted for unit in composite) < sum(unit.weighted for unit in units)
    ends = units if plain else composite
    if ends and ends[0] is units[0]:
        ends = ends[1:]
    if not ends:
        return [("stem", units)] if units else []
    runs = [list(run) for _, run in groupby(ends, key=lambda call: (call.shape, call.layout))]
    stem = [unit for unit in units if unit.order < ends[0].order]
    groups: list[_Group] = [("stem", stem)]
    before = stem[-1].order
    for end in (part[-1] for run in runs for part in _parts(run, most)):
        groups.append(("body", [unit for unit in units if before < unit.order <= end.order]))
        before = end.order
    tail = [unit for unit in units if unit.order > before]
    return [*groups, ("tail", tail)] if tail else groups


def _parts(run: list[Call], most: int) -> list[list[Call]]:
    """``run`` in as few parts of at most ``most`` as can be, about equally long."""
    number = -(-len(run) // most)
    return [run[len(run) * part // number : len(run) * (part + 1) // number] for part in range(number)]


def _usable_taps(model: nn.Module, probe: Probe, groups: list[_Group]) -> list[tuple[Call, Role]]:
    """The ends of ``groups`` at which the network can be cut in two; a group without one joins the next."""
    while True:
        taps = _taps(probe, groups)
        usable = _usable(model, [tap.path for tap, _ in taps], probe.image_shape)
        merged = _merged(groups, {at for at, (tap, _) in enumerate(taps) if tap.path not in usable})
        if len(merged) == len(groups):
            return taps
        groups = merged


def _merged(groups: list[_Group], bad: set[int]) -> list[_Group]:
    """``groups`` with those that are ``bad`` in the next.

    The last of a shape whose neighbour has just joined it stays: what is around them both may be a better end. The last
    of all is left to the head.
    """
    kept: list[_Group] = []
    waiting: list[_Group] = []
    for at, (role, units) in enumerate(groups):
        joins = at + 1 < len(groups) and groups[at + 1][1][-1].shape == units[-1].shape
        if at in bad and (joins or not waiting):
            waiting.append((role, units))
            continue
        kept.append(
            (waiting[0][0] if waiting else role, [unit for _, group in [*waiting, (role, units)] for unit in group])
        )
        waiting = []
    return kept


def _taps(probe: Probe, groups: list[_Group]) -> list[tuple[Call, Role]]:
    """The end of each group: of the stem the last cut before the next group, else as ``_end``; none holds another."""
    taps: list[tuple[Call, Role]] = []
    for at, (role, group) in enumerate(groups):
        limit = _start(probe, groups[at + 1][1][0]) if at + 1 < len(groups) else probe.calls[""].order
        between = [call for call in probe.calls.values() if group[-1].order < call.order < limit and call.path]
        cuts = [call for call in between if call.cut and call.shape is not None]
        cuts = [call for call in cuts if not any(tap.path.startswith(f"{call.path}.") for tap, _ in taps)]
        taps.append(((cuts or [group[-1]])[-1] if role == "stem" else _end(group[-1], cuts), role))
    return taps


def _end(unit: Call, following: list[Call]) -> Call:
    """The last of the modules around ``unit`` or beside it that hands on its map without another unit in between."""
    for call in following:
        around = unit.path.startswith(f"{call.path}.")
        beside = unit.path.rpartition(".")[0] == call.path.rpartition(".")[0]
        if (around or beside) and (call.shape, call.layout) == (unit.shape, unit.layout):
            unit = call
    return unit


def _start(probe: Probe, unit: Call) -> int:
    """Place in the order of completion of the first module inside ``unit`` (itself, if there is none)."""
    return min(call.order for call in probe.calls.values() if f"{call.path}.".startswith(f"{unit.path}."))


def _usable(model: nn.Module, paths: list[str], image_shape: tuple[int, int, int]) -> list[str]:
    """Those of ``paths`` at which the rest of the network can be cut off."""
    try:
        graph = trace(model, paths, image_shape)
    except UsageError:
        paths = [path for path in paths if _does(lambda path=path: trace(model, [path]))]
        if not paths:
            raise
        graph = trace(model, paths, image_shape)
    return [path for path in paths if _does(lambda path=path: between(graph, path, None))]


def _does(cut: Callable[[], object]) -> bool:
    try:
        cut()
    except UsageError as error:
        _log.info("a tap is left out: %s", error)
        return False
    return True
