"""How much time a shrinking run may take: a table of settings by name."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from distilnas.errors import UsageError, nearest

BALANCED = "balanced"


@dataclass(frozen=True, kw_only=True)
class Preset:
    """``fits``: the length of a recovery in fits of the teacher, None: the recipe's own (half of one). ``settings``:
    what else differs from the recipe's defaults."""

    fits: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


PRESETS = {
    "quick": Preset(
        fits=0.125,
        settings={"library": {"images": 500, "rating_images": 256}, "choice": {"assembled": 3, "curve": 0}},
    ),
    BALANCED: Preset(),
    "best": Preset(
        fits=2.0,
        settings={"library": {"images": 3000, "rating_images": 1024}, "choice": {"assembled": 10}},
    ),
}


def preset_of(name: str) -> Preset:
    """Raises ``UsageError`` for a name that is none."""
    if name not in PRESETS:
        raise UsageError(f"unknown preset {name!r}; {nearest(name, PRESETS)}")
    return PRESETS[name]
