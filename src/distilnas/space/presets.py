"""Search spaces by name (YAML files beside this module), from a file, or fitted to a teacher's blocks."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, cast

import yaml

from distilnas.errors import UsageError, nearest
from distilnas.files import read_text
from distilnas.space.families import CellSpec, Head, Stem
from distilnas.space.kinds import layer_kind
from distilnas.space.ops import Op
from distilnas.space.spaces import BlockSpec, SearchSpace, space_of_cells
from distilnas.yaml_text import load_yaml

_PRESETS = resources.files("distilnas.space") / "presets"


def preset_names() -> tuple[str, ...]:
    """Names that ``preset`` knows."""
    return tuple(sorted(p.name.removesuffix(".yaml") for p in _PRESETS.iterdir() if p.name.endswith(".yaml")))


def preset(name: str) -> SearchSpace:
    """A shipped search space; raises ``UsageError`` with the nearest names."""
    if name not in preset_names():
        raise UsageError(f"unknown search space {name!r}; {nearest(name, preset_names())}")
    return SearchSpace.from_dict(yaml.safe_load((_PRESETS / f"{name}.yaml").read_text(encoding="utf-8")))


def read_space(path: Path) -> SearchSpace:
    """A search space from a YAML or JSON file in the form of the presets."""
    data = load_yaml(read_text(path), str(path))
    if not isinstance(data, dict):
        raise UsageError(f"{path} is not a search space: a mapping with stem, blocks and head is needed.")
    return SearchSpace.from_dict(cast("dict[str, Any]", data))


def find_space(text: str) -> SearchSpace:
    """The shipped search space of a name, or that of a file."""
    is_name = text in preset_names() or not (Path(text).suffix or Path(text).exists())
    return preset(text) if is_name else read_space(Path(text))


def round_width(width: float, divisor: int = 8) -> int:
    """Nearest multiple of ``divisor``, at least one."""
    return max(divisor, int(width / divisor + 0.5) * divisor)


@dataclass(frozen=True, kw_only=True)
class FittedSpace:
    """Rules that fit a space of cells to any teacher's blocks.

    A block gets one cell for every pair of ``width_ratios`` (of the teacher's channels after the block, rounded to
    multiples of 8) and ``depths``; every layer chooses among the ops of all ``kinds`` (``distilnas.space.kinds``),
    which follow from ``kernels``, ``expansions``, ``se`` and ``act``.
    """

    kinds: tuple[str, ...] = field(default=("mb",), metadata={"recorded": "where it is not the default"})
    width_ratios: tuple[float, ...] = (0.25, 0.5)
    depths: tuple[int, ...] = (1, 2, 3)
    kernels: tuple[int, ...] = (3, 5)
    expansions: tuple[int, ...] = (3, 6)
    se: float = 0.25
    act: str = "silu"
    stem_width: int = 16
    head_width: int = 256

    def __post_init__(self) -> None:
        if not self.kinds or len(set(self.kinds)) < len(self.kinds):
            raise UsageError(f"a fitted space needs at least one kind of layer, none twice, got {list(self.kinds)}.")
        for kind in self.kinds:
            layer_kind(kind)

    def ops(self) -> tuple[Op, ...]:
        """All ops of a layer, kind by kind."""
        return tuple(op for kind in self.kinds for op in layer_kind(kind).options(self))

    def fit(self, channels: Sequence[int], reductions: Sequence[int]) -> SearchSpace:
        """The space for a teacher whose blocks emit ``channels`` at ``reductions`` of the input resolution.

        The stem takes a stride of 2 where the first block reduces at all; the first layer of each block the rest.
        """
        stem_stride = 2 if reductions[0] % 2 == 0 else 1
        strides = [r // before for r, before in zip(reductions, [stem_stride, *reductions], strict=False)]
        blocks = tuple(self._block(c, s) for c, s in zip(channels, strides, strict=True))
        stem = Stem(width=self.stem_width, stride=stem_stride, act=self.act)
        head = Head(width=self.head_width, act=self.act)
        return space_of_cells(name="fitted", stem=stem, blocks=blocks, head=head)

    def _block(self, channels: int, stride: int) -> BlockSpec:
        widths = sorted({round_width(channels * ratio) for ratio in self.width_ratios})
        cells = (CellSpec(width=w, layers=(self.ops(),) * d) for w in widths for d in sorted(set(self.depths)))
        return BlockSpec(stride=stride, families=tuple(cells))
