"""The search space that a run's settings name, checked against the teacher's blocks."""

from pathlib import Path
from typing import Any

from distilnas.errors import UsageError
from distilnas.recipes.settings import SpaceSettings
from distilnas.space import SearchSpace, preset, read_space, separate_depths, split_blocks
from distilnas.teachers import Partition


def resolve_space(settings: SpaceSettings, partition: dict[str, Any]) -> SearchSpace:
    """The space of the settings; raises ``UsageError`` when it does not fit the teacher's partition."""
    teacher = Partition.from_dict(partition)
    if settings.fitted is not None:
        taps = teacher.taps
        space = _shaped(settings.fitted.fit([tap.channels for tap in taps], _reductions(teacher)), settings)
    else:
        space = named_space(settings)
    check_fit(space, teacher)
    return space


def named_space(settings: SpaceSettings) -> SearchSpace:
    """The space of settings that name a preset or a file."""
    if settings.preset is not None:
        return _shaped(preset(settings.preset), settings)
    assert settings.file is not None
    return _shaped(read_space(Path(settings.file)), settings)


def _shaped(space: SearchSpace, settings: SpaceSettings) -> SearchSpace:
    space = split_blocks(space, settings.split) if settings.split else space
    space = separate_depths(space) if settings.depths == "separate" else space
    return space.single_cell() if settings.cells == "widest" else space


def check_fit(space: SearchSpace, teacher: Partition) -> None:
    """Raise ``UsageError`` unless every block of the space ends at the resolution of the teacher's block."""
    if len(space.body) != len(teacher.taps):
        raise UsageError(
            f"space {space.name!r} has {len(space.body)} blocks, the teacher {len(teacher.taps)} "
            f"({', '.join(tap.path for tap in teacher.taps)}); choose another space or set teacher.partition."
        )
    _, height, width = teacher.image_shape
    for index, (tap, reduction) in enumerate(zip(teacher.taps, space.reductions, strict=True), start=1):
        sizes = (-(-height // reduction), -(-width // reduction))
        if sizes != (tap.height, tap.width):
            raise UsageError(
                f"block {index} of space {space.name!r} ends at {sizes[0]}x{sizes[1]} pixels, the teacher's "
                f"({tap.path}) at {tap.height}x{tap.width}; the strides must agree and "
                f"data.resolution be divisible by {reduction}."
            )


def _reductions(teacher: Partition) -> list[int]:
    total, reductions = 1, []
    for stride in teacher.strides:
        total *= stride
        reductions.append(total)
    return reductions
