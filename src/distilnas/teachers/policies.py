"""Where a network may be cut into blocks: by its stages, by its depth, or where its resolution changes.

Each forms groups of candidate modules, one group a block; the last in a group that is a cut vertex becomes the tap.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby, pairwise

from distilnas.teachers.probe import Call, Probe

_DEPTH_BLOCKS = 4  # as many as most networks with stages have
_MOST_STAGES = 8  # EfficientNets have six; networks that widen at every layer (ReXNet, DPN) would have fifteen


def stage_taps(probe: Probe) -> list[Call]:
    """One tap for each run of stage units of equal (C, H, W), or of equal (H, W) if there are more than eight of those.

    Units come from the root by opening every module that holds possible taps of different resolution (directly, or in a
    module inside; composite: two weighted layers or more): a ResNet opens into conv1, bn1, ..., layer1 to layer4, an
    EfficientNet into conv_stem, bn1, blocks.0 to blocks.6, a Swin transformer into patch_embed, layers.0 to layers.3.
    Stage units are the composite ones after the stem, which is the first unit with a weighted layer. A leading stage
    that is narrower than the stem and keeps its resolution belongs to the next block, so that an EfficientNet has the
    six blocks of the paper (section 4), ending at blocks.1 to blocks.6.
    """
    units = [call for call in _units(probe) if call.weighted]
    if not units:
        return []
    stem, *rest = units
    stages = [call for call in rest if call.composite]
    groups = [list(group) for _, group in groupby(stages, key=lambda call: call.shape)]
    if len(groups) > _MOST_STAGES:
        groups = [list(group) for _, group in groupby(stages, key=lambda call: call.resolution)]
    if len(groups) > 1 and _narrows(stem, groups[0][0]):
        del groups[0]
    return _last_cuts(groups)


def depth_taps(probe: Probe) -> list[Call]:
    """Four groups of about equal depth of the longest run of units of equal (C, H, W) in a row, such as a ViT's blocks.

    A unit is composite and a cut vertex. Fewer than four units are a group each. Where the classifier reads prefix
    tokens alone, the last unit belongs to it: what that makes of the grid, nobody reads or has trained.
    """
    run = equal_run(probe)
    if run and run[-1].layout.prefix and not probe.pools_grid:
        run = run[:-1]
    number = min(_DEPTH_BLOCKS, len(run))
    return [run[len(run) * group // number - 1] for group in range(1, number + 1)]


def resolution_taps(probe: Probe) -> list[Call]:
    """The last cut vertex at each resolution, in order of completion.

    1x1 maps are left out (they belong to the classifier), and so are taps without a weighted layer since the one before
    (poolings). Of modules that give the same map, the last to complete is taken: the outermost.
    """
    groups: dict[tuple[int, int], list[Call]] = {}
    for call in probe.calls.values():
        if call.path and call.resolution not in (None, (1, 1)):
            groups.setdefault(call.resolution, []).append(call)
    taps: list[Call] = []
    for tap in sorted(_last_cuts(groups.values()), key=lambda call: call.order):
        if probe.weighted_between(taps[-1].order if taps else -1, tap.order):
            taps.append(tap)
    return taps


def equal_run(probe: Probe) -> list[Call]:
    """The longest run of neighbouring units of equal (C, H, W) and layout, each composite and a cut; may be empty."""
    runs = [
        list(run)
        for inner in inner_calls(probe).values()
        for _, run in groupby((c for c in inner if c.composite and c.cut), key=lambda c: (c.shape, c.layout))
    ]
    return max(runs, key=len, default=[])


def _last_cuts(groups: Iterable[list[Call]]) -> list[Call]:
    cuts = (next((call for call in reversed(group) if call.cut), None) for group in groups)
    return [call for call in cuts if call is not None]


def _narrows(stem: Call, stage: Call) -> bool:
    if stem.shape is None or stage.shape is None:
        return False
    return stage.resolution == stem.resolution and stage.shape[0] < stem.shape[0]


def _units(probe: Probe) -> list[Call]:
    children = inner_calls(probe)

    def opens(call: Call) -> bool:
        inner = children[call.path]
        return _differ(child for child in inner if child.composite and child.cut) or any(map(opens, inner))

    def expand(call: Call) -> Iterator[Call]:
        if not opens(call):
            yield call
            return
        for child in children[call.path]:
            yield from expand(child)

    return list(expand(probe.calls[""]))


def _differ(calls: Iterable[Call]) -> bool:
    """Whether two of them have different resolutions."""
    return any(before.resolution != after.resolution for before, after in pairwise(calls))


def inner_calls(probe: Probe) -> dict[str, list[Call]]:
    """Called modules by the nearest called module around them (lists of modules are not called themselves)."""
    children: dict[str, list[Call]] = {path: [] for path in probe.calls}
    for call in probe.calls.values():
        if call.path:
            children[_parent(call.path, probe.calls)].append(call)
    return children


def _parent(path: str, called: dict[str, Call]) -> str:
    while path:
        path = path.rpartition(".")[0]
        if path in called:
            break
    return path
